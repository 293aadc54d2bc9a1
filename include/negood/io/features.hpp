/// \file features.hpp  Feature files: `.npy`, or one tensor of a safetensors file written `file.safetensors:name`.
#pragma once

#include <negood/feature/check.hpp>
#include <negood/io/npy.hpp>
#include <negood/io/number.hpp>
#include <negood/io/safetensors.hpp>

namespace negood {

struct feature_file_options {
  double dequant_scale = 0;  ///< integer features are multiplied by it; 0: integers are refused
  npy_limits npy{};
  safetensors_limits safetensors{};
};

/// Feature rows as they stand in the file, unchecked and not normalised.
template <class T>
struct feature_file {
  host_matrix<T> values;
  scalar_type dtype = scalar_type::unknown;  ///< as stored
  std::string notice;                        ///< not empty where the values were converted
};

namespace detail {

template <class T, class Read>
feature_file<T> convert_features(const std::string& where, scalar_type dtype, std::size_t rank, double scale,
                                 const Read& read) {
  if (rank != 2)
    fail(error_category::data, "negood.feature.5", where, "has " + std::to_string(rank) + " dimension(s)",
         "features are [rows, width]");
  const bool integers = dtype != scalar_type::unknown && !is_floating(dtype);
  if (integers && !(std::isfinite(scale) && scale > 0))
    fail(error_category::data, "negood.feature.6", where, "holds integers of dtype " + std::string(scalar_name(dtype)),
         "--dequant SCALE says what one step stands for");
  feature_file<T> out;
  out.dtype = dtype;
  out.values = read();
  if (integers)
    for (T& v : out.values.values()) v = static_cast<T>(static_cast<double>(v) * scale);
  if (dtype != scalar_type_of<T>())
    out.notice = where + ": " + std::string(scalar_name(dtype)) + " converted to " +
                 std::string(scalar_name(scalar_type_of<T>())) +
                 (integers ? ", times " + format_number(scale) : std::string());
  return out;
}

}  // namespace detail

/// Reads `[N, D]` features from `path.npy`, `path.safetensors:name`, or `path.safetensors` with a single tensor.
///
/// Real dtypes convert to T with a notice; `check_features` then validates and normalises.
/// \throws error negood.feature.5 not two-dimensional, .6 integers without a scale, .7 several tensors and no name, and
///         what the readers of npy and safetensors throw
template <class T>
feature_file<T> read_features(const std::string& spec, const feature_file_options& options = {}) {
  constexpr std::string_view extension = ".safetensors";
  const std::size_t at = spec.rfind(std::string(extension) + ":");
  const bool named = at != std::string::npos;
  if (!named && !spec.ends_with(extension)) {
    const npy_file file = npy_file::open(spec, options.npy);
    return detail::convert_features<T>(spec, file.dtype(), file.shape().size(), options.dequant_scale,
                                       [&] { return file.matrix<T>(); });
  }
  const safetensors_file file =
      safetensors_file::open(named ? spec.substr(0, at + extension.size()) : spec, options.safetensors);
  if (!named && file.tensors().size() != 1)
    fail(error_category::data, "negood.feature.7", spec, "holds " + std::to_string(file.tensors().size()) + " tensors",
         "name one of them: file.safetensors:name");
  const std::string name = named ? spec.substr(at + extension.size() + 1) : file.tensors().front().name;
  const safetensors_tensor& tensor = file.info(name);
  return detail::convert_features<T>(spec, tensor.dtype, tensor.shape.size(), options.dequant_scale,
                                     [&] { return file.tensor<T>(name); });
}

}  // namespace negood
