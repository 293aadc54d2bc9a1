/// \file feature_cache.hpp  Text features kept on disk under a hash of everything they depend on.
#pragma once

#include <negood/backend/concepts.hpp>
#include <negood/hash.hpp>
#include <negood/io/safetensors.hpp>
#include <negood/io/safetensors_writer.hpp>

#include <cmath>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace negood {

/// What decides the features of a list of words, or of anything else that names stand for.
struct feature_request {
  std::string_view encoder;  ///< fingerprint of the model: weights and tokenizer
  std::span<const std::string> words, templates;
  std::string_view arithmetic;     ///< backend, precision and everything else that may change a bit
  std::string_view template_mean;  ///< how several templates become one feature
  index_type width = 0;            ///< of a feature
  index_type rows_each = 1;        ///< features a word

  /// SHA-256 of all of it, in order, every string with its length: no two requests share a key.
  std::string key() const {
    sha256 h;
    const auto add = [&](std::string_view text) { h.update_u64(text.size()).update(text); };
    add("negood.features/1");
    for (const auto text : {encoder, arithmetic, template_mean}) add(text);
    h.update_u64(static_cast<std::uint64_t>(width));
    for (const auto list : {templates, words}) {
      h.update_u64(list.size());
      for (const auto& text : list) add(text);
    }
    if (rows_each != 1) h.update_u64(static_cast<std::uint64_t>(rows_each));
    return h.hex_digest();
  }
};

/// What the cache did.
struct cache_report {
  bool hit = false;
  std::string refused;      ///< why a file of the right name was not used
  std::string not_written;  ///< why the features could not be kept
};

namespace detail {

inline std::string content_hash(const host_matrix<float>& m) {
  return sha256{}.update(m.data(), static_cast<std::size_t>(m.size()) * sizeof(float)).hex_digest();
}

/// Reads a cache file; throws where anything is not as it was written.
inline host_matrix<float> read_cached_features(const std::filesystem::path& path, const std::string& key,
                                               index_type rows, index_type cols) {
  const auto refuse = [&](const std::string& what) {
    fail(error_category::artifact, "negood.cache.1", path.string(), what, "delete it");
  };
  const auto file = safetensors_file::open(path);
  for (const auto& [name, wanted] :
       {std::pair<std::string, std::string>{"format", "negood.features/1"}, {"key", key}}) {
    const auto* found = file.find_metadata(name);
    if (found == nullptr || *found != wanted) refuse("its " + name + " is another");
  }
  const auto& info = file.info("features");
  if (info.shape != std::vector<std::uint64_t>{static_cast<std::uint64_t>(rows), static_cast<std::uint64_t>(cols)})
    refuse("features is not " + shape_string(rows, cols));
  auto out = file.tensor<float>("features");
  for (index_type i = 0; i < out.size(); ++i)
    if (!std::isfinite(out.data()[i])) refuse("features holds NaN or Inf in row " + std::to_string(i / out.cols()));
  const auto* hash = file.find_metadata("content_sha256");
  if (hash == nullptr || *hash != content_hash(out)) refuse("its content has another hash");
  return out;
}

}  // namespace detail

/// The features `compute()` gives, `[words rows_each, width]`, from `folder` if they were computed before.
///
/// The file is named by the request's key and holds it again, beside a hash of its content. A file that is damaged, of
/// other words or not finite is computed anew and written over, and `report` says why; a folder that cannot be written
/// costs the next run its time, not this one its result.
template <class Compute>
host_matrix<float> cached_features(const std::filesystem::path& folder, const feature_request& request,
                                   Compute&& compute, cache_report* report = nullptr) {
  cache_report local;
  auto& r = report ? *report : local;
  r = {};
  const auto key = request.key();
  const auto path = folder / (key + ".safetensors");
  const auto rows = static_cast<index_type>(request.words.size()) * request.rows_each;
  std::error_code ignored;
  if (std::filesystem::exists(path, ignored)) try {
      auto out = detail::read_cached_features(path, key, rows, request.width);
      r.hit = true;
      return out;
    } catch (const error& e) {
      r.refused = e.what();
    }
  host_matrix<float> out = compute();
  require_shape(out.rows() == rows && out.cols() == request.width, "cached_features", "features", out.rows(),
                out.cols(), "request", rows, request.width, "as many rows a word as were asked for");
  try {
    std::filesystem::create_directories(folder);
    safetensors_writer writer;
    writer.metadata("format", "negood.features/1");
    writer.metadata("key", key);
    writer.metadata("encoder_fingerprint", std::string(request.encoder));
    writer.metadata("content_sha256", detail::content_hash(out));
    writer.add("features", out);
    writer.save(path);
  } catch (const error& e) {
    r.not_written = e.what();
  } catch (const std::filesystem::filesystem_error& e) {
    r.not_written = e.what();
  }
  return out;
}

}  // namespace negood
