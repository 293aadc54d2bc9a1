/// \file safetensors.hpp  Reading and writing safetensors files: named tensors and string metadata, nothing executable.
///
/// The format: the header's length as a little-endian u64, a JSON header, then the data without a gap.
/// Every length is checked against the file before anything is allocated for it; docs/errors.md lists what is refused.
#pragma once

#include <negood/backend/host_matrix.hpp>
#include <negood/io/safetensors_header.hpp>
#include <negood/io/source.hpp>

namespace negood {

/// A safetensors file: its tensors can be listed, also those of unknown dtype, and read one at a time.
class safetensors_file {
 public:
  /// Reads the whole file into memory.
  /// \throws error negood.io.1 to .5; negood.safetensors.1 too short, .2 header length, .3 to .5 see the header's
  /// reader
  static safetensors_file read(const std::filesystem::path& path, const safetensors_limits& limits = {}) {
    return safetensors_file(byte_source::read(path, limits.file_bytes), limits);
  }
  /// Reads only the header; each tensor is read from the file when it is asked for, which halves the memory of a model.
  static safetensors_file open(const std::filesystem::path& path, const safetensors_limits& limits = {}) {
    return safetensors_file(byte_source::open(path, limits.file_bytes), limits);
  }
  /// Takes the bytes of a file; `name` stands for it in messages.
  static safetensors_file parse(byte_vector bytes, std::string name = "safetensors",
                                const safetensors_limits& limits = {}) {
    return safetensors_file(byte_source::from_bytes(std::move(bytes), std::move(name)), limits);
  }
  /// As above, over bytes that outlive the result.
  static safetensors_file parse(byte_view bytes, std::string name = "safetensors",
                                const safetensors_limits& limits = {}) {
    return safetensors_file(byte_source::from_view(bytes, std::move(name)), limits);
  }

  const std::string& name() const noexcept { return source_.name(); }
  const std::vector<safetensors_tensor>& tensors() const noexcept { return header_.tensors; }
  const std::vector<metadata_entry>& metadata() const noexcept { return header_.metadata; }

  /// The metadata value of `key`, or nullptr.
  const std::string* find_metadata(std::string_view key) const noexcept {
    for (const metadata_entry& e : header_.metadata)
      if (e.first == key) return &e.second;
    return nullptr;
  }
  /// The tensor called `tensor_name`, or nullptr.
  const safetensors_tensor* find(std::string_view tensor_name) const noexcept {
    const auto it = by_name_.find(tensor_name);
    return it == by_name_.end() ? nullptr : &header_.tensors[it->second];
  }
  bool contains(std::string_view tensor_name) const noexcept { return find(tensor_name) != nullptr; }

  /// The tensor called `tensor_name`. \throws error negood.safetensors.6 where there is none
  const safetensors_tensor& info(std::string_view tensor_name) const {
    const safetensors_tensor* t = find(tensor_name);
    if (t == nullptr)
      fail(error_category::artifact, "negood.safetensors.6", name(), "has no tensor " + detail::quote_name(tensor_name),
           listing());
    return *t;
  }

  /// A tensor's values as a matrix: rank 0 is [1, 1], rank 1 [n, 1], rank 2 as it is, above that [shape[0], the rest].
  ///
  /// Real dtypes convert to the nearest T; integers must be exact values of T; reals never become integers.
  /// \throws error negood.safetensors.6 no such tensor, .7 dtype unknown or not convertible, .8 a value that does not
  /// fit
  template <class T>
  host_matrix<T> tensor(std::string_view tensor_name) const {
    const safetensors_tensor& t = info(tensor_name);
    if (!convertible_to<T>(t.dtype))
      fail(error_category::artifact, "negood.safetensors.7", name(),
           "tensor " + detail::quote_name(t.name) + " has dtype " + t.dtype_name + ", which cannot be read as " +
               std::string(scalar_name(scalar_type_of<T>())),
           t.dtype == scalar_type::unknown ? "store it as F32, F16 or BF16" : "");
    host_matrix<T> out(t.rows, t.cols);
    const std::size_t width = scalar_size(t.dtype), count = static_cast<std::size_t>(out.size());
    if (t.dtype == scalar_type_of<T>() && !std::is_same_v<T, bool>) {
      source_.read_at(data_ + t.begin, {reinterpret_cast<std::uint8_t*>(out.data()), count * width});
      return out;
    }
    constexpr std::size_t chunk = std::size_t{1} << 16;  // elements: bounds the memory beside the result
    byte_vector raw(std::min(chunk, count) * width);
    for (std::size_t first = 0; first < count; first += chunk) {
      const std::size_t n = std::min(chunk, count - first);
      source_.read_at(data_ + t.begin + first * width, {raw.data(), n * width});
      if (const auto bad = convert_scalars<T>(t.dtype, raw.data(), out.data() + first, n))
        fail(error_category::artifact, "negood.safetensors.8", name(),
             "tensor " + detail::quote_name(t.name) + ", element " + std::to_string(first + *bad) + ": the " +
                 t.dtype_name + " value is no value of " + std::string(scalar_name(scalar_type_of<T>())));
    }
    return out;
  }

  /// The stored bytes of a tensor of any dtype, known or not.
  byte_vector raw(std::string_view tensor_name) const {
    const safetensors_tensor& t = info(tensor_name);
    byte_vector out(static_cast<std::size_t>(t.end - t.begin));
    source_.read_at(data_ + t.begin, out);
    return out;
  }

 private:
  safetensors_file(byte_source source, const safetensors_limits& limits) : source_(std::move(source)) {
    const std::uint64_t size = source_.size();
    if (size < 8)
      fail(error_category::artifact, "negood.safetensors.1", name(),
           std::to_string(size) + " bytes cannot hold a header", "is it a safetensors file?");
    std::uint8_t raw_length[8];
    source_.read_at(0, raw_length);
    const std::uint64_t length = load_le<std::uint64_t>(raw_length);
    const std::uint64_t cap = std::min(limits.header_bytes, std::uint64_t{100'000'000});
    if (const auto end = checked_add(8, length); length < 2 || !end || *end > size || length > cap)
      fail(error_category::artifact, "negood.safetensors.2", name(),
           "claims a header of " + std::to_string(length) + " bytes; the file holds " + std::to_string(size - 8) +
               " after its length and the limit is " + std::to_string(cap),
           "truncated, or not a safetensors file");
    data_ = 8 + length;
    std::string text(static_cast<std::size_t>(length), '\0');
    source_.read_at(8, {reinterpret_cast<std::uint8_t*>(text.data()), text.size()});
    header_ = parse_safetensors_header(text, size - data_, name(), limits);
    for (std::size_t i = 0; i < header_.tensors.size(); ++i) by_name_.emplace(header_.tensors[i].name, i);
  }

  std::string listing() const {
    std::string out = "it has";
    if (header_.tensors.empty()) return out + " none";
    for (std::size_t i = 0; i < header_.tensors.size() && i < 8; ++i)
      out += (i == 0 ? " " : ", ") + detail::quote_name(header_.tensors[i].name);
    return header_.tensors.size() > 8 ? out + ", ..." : out;
  }

  byte_source source_;
  std::uint64_t data_ = 0;
  safetensors_header header_;
  std::map<std::string, std::size_t, std::less<>> by_name_;
};

}  // namespace negood
