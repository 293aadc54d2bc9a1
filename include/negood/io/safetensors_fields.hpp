/// \file safetensors_fields.hpp  Metadata and tensors of the library's own files, each refused with its name where it
/// is not as it should be.
#pragma once

#include <negood/feature/check.hpp>
#include <negood/io/json.hpp>
#include <negood/io/number.hpp>
#include <negood/io/safetensors.hpp>

#include <cmath>
#include <optional>

namespace negood::detail {

/// Refuses a file of another kind or of a newer major version (F-32).
inline void check_format(const safetensors_file& file, std::string_view kind, int newest) {
  const std::string* const format = file.find_metadata("format");
  const std::string wanted = std::string(kind) + "/" + std::to_string(newest);
  if (format == nullptr || !format->starts_with(std::string(kind) + "/"))
    fail(error_category::artifact, "negood.file.1", file.name(),
         format == nullptr ? "its metadata have no \"format\"" : "its format is \"" + format->substr(0, 60) + "\"",
         "expected " + wanted);
  const std::string_view version = std::string_view(*format).substr(kind.size() + 1);
  const auto major = parse_number<int>(version.substr(0, version.find('.')));
  if (!major || *major < 1)
    fail(error_category::artifact, "negood.file.1", file.name(), "its format is \"" + format->substr(0, 60) + "\"",
         "expected " + wanted);
  if (*major > newest)
    fail(error_category::artifact, "negood.file.2", file.name(),
         "is of format " + format->substr(0, 60) + ", this program reads " + wanted, "update negood");
}

[[noreturn]] inline void fail_metadata(const safetensors_file& file, std::string_view key, std::string_view expected) {
  fail(error_category::artifact, "negood.file.3", file.name(),
       "its metadata \"" + std::string(key) + "\" is not usable", std::string("expected ") + std::string(expected));
}

inline const std::string& required_metadata(const safetensors_file& file, std::string_view key,
                                            std::string_view expected) {
  const std::string* const value = file.find_metadata(key);
  if (value == nullptr) fail_metadata(file, key, expected);
  return *value;
}

/// An optional number of metadata.
template <class T>
std::optional<T> metadata_number(const safetensors_file& file, std::string_view key, std::string_view expected) {
  const std::string* const text = file.find_metadata(key);
  if (text == nullptr || text->empty()) return std::nullopt;
  const auto value = parse_number<T>(*text);
  if (!value) fail_metadata(file, key, expected);
  return value;
}

/// `options` as a JSON object; empty where there is none.
inline json metadata_options(const safetensors_file& file) {
  const std::string* const text = file.find_metadata("options");
  if (text == nullptr || text->empty()) return json::object();
  json out;
  try {
    out = parse_json(*text, file.name() + ", options");
  } catch (const error& e) {
    fail(error_category::artifact, "negood.file.3", file.name(), e.what_happened(), "\"options\" is a JSON object");
  }
  if (!out.is_object()) fail_metadata(file, "options", "a JSON object");
  return out;
}

template <class T>
std::optional<T> option(const safetensors_file& file, const json& options, const char* key) {
  const auto it = options.find(key);
  if (it == options.end() || it->is_null()) return std::nullopt;
  bool good = it->is_number_integer();
  if constexpr (std::is_same_v<T, std::string>) good = it->is_string();
  if constexpr (std::is_floating_point_v<T>) good = it->is_number();
  if (!good) fail_metadata(file, std::string("options.") + key, "another type");
  return it->get<T>();
}

/// A tensor of `rank` dimensions.
inline host_matrix<float> tensor_of_rank(const safetensors_file& file, std::string_view name, std::size_t rank) {
  const auto& info = file.info(name);
  if (info.shape.size() != rank)
    fail(error_category::artifact, "negood.file.4", file.name(),
         "tensor '" + std::string(name) + "' has " + std::to_string(info.shape.size()) + " dimensions",
         "expected " + std::to_string(rank));
  auto out = file.tensor<float>(name);
  for (const float v : out.values())
    if (!std::isfinite(v))
      fail(error_category::artifact, "negood.file.5", file.name(),
           "tensor '" + std::string(name) + "' holds NaN or an infinity");
  return out;
}

/// Unit rows of a two-dimensional tensor; rows as a hand would write them are divided by their norms.
inline host_matrix<float> unit_tensor(const safetensors_file& file, std::string_view name) {
  auto out = tensor_of_rank(file, name, 2);
  if (out.empty()) return out;
  auto copy = out;
  const auto report = check_features(copy, {}, file.name() + ", tensor '" + std::string(name) + "'");
  return report.warn ? copy : out;  // rows that are unit to float's precision stay as they are, byte by byte
}

}  // namespace negood::detail
