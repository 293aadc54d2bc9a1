/// \file safetensors_writer.hpp  Writing safetensors files: same calls, same bytes; saved whole or not at all.
#pragma once

#include <negood/io/safetensors.hpp>

namespace negood {

/// Collects tensors and metadata and lays them out as a safetensors file.
///
/// Metadata stands in the order it was given. Tensors stand by descending element size and then in the order they were
/// given, so that each is aligned to its element; the header is padded with spaces so that the data start at a multiple
/// of 64.
class safetensors_writer {
 public:
  /// Adds a matrix under its two dimensions. \throws error negood.safetensors.9 for a bad or repeated name
  template <class T>
  void add(std::string name, host_view<T> values, scalar_type as = scalar_type_of<T>()) {
    add<T>(std::move(name), {static_cast<std::uint64_t>(values.rows), static_cast<std::uint64_t>(values.cols)},
           values.values(), as);
  }
  template <class T>
  void add(std::string name, const host_matrix<T>& values, scalar_type as = scalar_type_of<T>()) {
    add(std::move(name), values.view(), as);
  }

  /// Adds values under a shape of any rank up to 8; the values are converted and copied now.
  template <class T>
  void add(std::string name, std::vector<std::uint64_t> shape, std::span<const T> values,
           scalar_type as = scalar_type_of<T>()) {
    const auto form = to_matrix_shape(shape);
    if (shape.size() > detail::safetensors_max_rank || !form || form->elements != values.size())
      fail(error_category::usage, "negood.safetensors.9", "safetensors_writer",
           "tensor " + detail::quote_name(name) + " has " + std::to_string(values.size()) +
               " values, not those of its shape");
    check_key(name, "tensor");
    if (name == "__metadata__" || !names_.emplace(name, 0).second)
      fail(error_category::usage, "negood.safetensors.9", "safetensors_writer",
           "tensor name " + detail::quote_name(name) + " is reserved or used twice");
    entry e{std::move(name), as, std::move(shape), {}};
    e.bytes.reserve(values.size() * scalar_size(as));
    append_scalars(e.bytes, values, as);
    entries_.push_back(std::move(e));
  }

  /// Sets a metadata string; a second call with the same key replaces the first value.
  void metadata(std::string key, std::string value) {
    check_key(key, "metadata key");
    for (metadata_entry& e : metadata_)
      if (e.first == key) {
        e.second = std::move(value);
        return;
      }
    metadata_.emplace_back(std::move(key), std::move(value));
  }

  /// The file's bytes.
  byte_vector bytes() const {
    byte_vector out = prefix();
    for (const entry* e : ordered()) out.insert(out.end(), e->bytes.begin(), e->bytes.end());
    return out;
  }

  /// Saves the file atomically. \throws error negood.io.6 where a system call fails
  void save(const std::filesystem::path& path, file_system& calls = default_file_system()) const {
    const byte_vector head = prefix();
    atomic_writer writer(path, calls);
    writer.write(head);
    for (const entry* e : ordered()) writer.write(e->bytes);
    writer.commit();
  }

 private:
  struct entry {
    std::string name;
    scalar_type type;
    std::vector<std::uint64_t> shape;
    byte_vector bytes;
  };

  static void check_key(const std::string& key, std::string_view what) {
    if (key.empty() || key.size() > safetensors_limits{}.name_bytes)
      fail(error_category::usage, "negood.safetensors.9", "safetensors_writer",
           "a " + std::string(what) + " of " + std::to_string(key.size()) + " bytes");
  }

  static std::string json_string(const std::string& text) {
    try {
      return nlohmann::json(text).dump();
    } catch (const nlohmann::json::exception&) {
      fail(error_category::usage, "negood.safetensors.9", "safetensors_writer",
           "a name or metadata string is not valid UTF-8");
    }
  }

  std::vector<const entry*> ordered() const {
    std::vector<const entry*> out;
    for (const entry& e : entries_) out.push_back(&e);
    std::stable_sort(out.begin(), out.end(),
                     [](const entry* a, const entry* b) { return scalar_size(a->type) > scalar_size(b->type); });
    return out;
  }

  /// Length and padded header.
  byte_vector prefix() const {
    std::string text = "{";
    if (!metadata_.empty()) {
      text += "\"__metadata__\":{";
      for (const metadata_entry& e : metadata_) {
        if (text.back() != '{') text += ',';
        text += json_string(e.first) + ":" + json_string(e.second);
      }
      text += '}';
    }
    std::uint64_t at = 0;
    for (const entry* e : ordered()) {
      if (text.size() > 1) text += ',';
      text += json_string(e->name) + ":{\"dtype\":\"" + std::string(scalar_name(e->type)) + "\",\"shape\":[";
      for (std::size_t i = 0; i < e->shape.size(); ++i) text += (i ? "," : "") + std::to_string(e->shape[i]);
      text += "],\"data_offsets\":[" + std::to_string(at) + "," + std::to_string(at + e->bytes.size()) + "]}";
      at += e->bytes.size();
    }
    text += '}';
    text.append((64 - (8 + text.size()) % 64) % 64, ' ');
    if (text.size() > 100'000'000)
      fail(error_category::resource, "negood.safetensors.10", "safetensors_writer",
           "its header passes 100,000,000 bytes");
    byte_vector out;
    append_le(out, static_cast<std::uint64_t>(text.size()));
    const byte_view view = as_byte_view(text);
    out.insert(out.end(), view.begin(), view.end());
    return out;
  }

  std::vector<entry> entries_;
  std::vector<metadata_entry> metadata_;
  std::map<std::string, int, std::less<>> names_;
};

}  // namespace negood
