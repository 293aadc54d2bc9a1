/// \file preprocess.hpp  CLIP's image preprocessing: resize the short side, crop the centre, normalise.
#pragma once

#include <negood/backend/host_matrix.hpp>
#include <negood/clip/image.hpp>
#include <negood/clip/resize.hpp>
#include <negood/error.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>

namespace negood {

/// What the image tower was trained on. The defaults are those of OpenAI's ViT-B/16.
struct preprocess_options {
  index_type image_size = 224;
  std::array<float, 3> mean{0.48145466f, 0.4578275f, 0.40821073f};
  std::array<float, 3> std{0.26862954f, 0.26130258f, 0.27577711f};
  resample_filter filter = resample_filter::bicubic;
};

namespace detail {

inline void check_preprocess(const preprocess_options& options) {
  if (options.image_size < 1 || options.image_size > 16384)
    fail(error_category::usage, "negood.preprocess.3", "preprocess",
         "image_size is " + std::to_string(options.image_size) + ", it must be from 1 to 16384");
  for (std::size_t c = 0; c < 3; ++c)
    if (!std::isfinite(options.mean[c]) || !std::isfinite(options.std[c]) || !(options.std[c] > 0))
      fail(error_category::usage, "negood.preprocess.3", "preprocess", "mean and std must be finite and std positive",
           "take them from the model's config.json");
}

/// Half of an integer, rounded half to even as Python's `round` does.
constexpr index_type half_to_even(index_type n) noexcept {
  const index_type half = n / 2;
  return n % 2 == 0 ? half : half + half % 2;
}

/// (v / 255 - mean) / std in single precision for every byte, channel by channel into `out`.
inline void normalise_pixels(const image& in, const preprocess_options& options, float* out) {
  const index_type pixels = in.width * in.height;
  for (index_type c = 0; c < 3; ++c) {
    std::array<float, 256> value;
    for (std::size_t v = 0; v < 256; ++v)
      value[v] = (static_cast<float>(v) / 255.0f - options.mean[static_cast<std::size_t>(c)]) /
                 options.std[static_cast<std::size_t>(c)];
    const std::uint8_t* from = in.rgb.data() + c;
    for (index_type i = 0; i < pixels; ++i) out[c * pixels + i] = value[from[3 * i]];
  }
}

}  // namespace detail

/// The square that the image tower sees, in bytes: short side resized to S = image_size, the long one to
/// floor(S long / short), then the centre S x S, whose offset is (side - S) / 2 rounded half to even.
///
/// The same bytes as torchvision's Resize and CenterCrop on Pillow images; only the crop is computed, so a picture of
/// one pixel by many thousands costs no more than another. Throws negood.preprocess.1 and .3.
inline image centre_square(const image& picture, const preprocess_options& options) {
  detail::check_preprocess(options);
  detail::check_image(picture, "preprocess");
  const index_type size = options.image_size;
  const index_type shorter = std::min(picture.width, picture.height);
  const auto scaled = [&](index_type side) { return side == shorter ? size : size * side / shorter; };
  const index_type width = scaled(picture.width), height = scaled(picture.height);
  return resize_window(picture, {0, 0, picture.width, picture.height}, width, height,
                       {detail::half_to_even(width - size), detail::half_to_even(height - size), size, size},
                       options.filter);
}

/// A picture as the image tower takes it: `[1, 3 S S]`, channel-major (red plane, green plane, blue plane), each value
/// (byte / 255 - mean) / std in single precision; bytes from `centre_square`. No gradient: images are data.
///
/// Throws negood.preprocess.1 for a picture without pixels, negood.preprocess.3 for options that mean nothing.
inline host_matrix<float> preprocess(const image& picture, const preprocess_options& options = {}) {
  const image square = centre_square(picture, options);
  host_matrix<float> out(1, 3 * square.width * square.height);
  detail::normalise_pixels(square, options, out.data());
  return out;
}

}  // namespace negood
