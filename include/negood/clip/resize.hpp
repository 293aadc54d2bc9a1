/// \file resize.hpp  Antialiased resampling with the same bytes as Pillow's `Image.resize`.
///
/// CLIP's models saw images resized by Pillow, and a different resampler costs accuracy. What defines Pillow's bytes:
/// weights in double precision, normalised to sum 1 and rounded to 22 fractional bits; a horizontal pass, then a
/// vertical one, 8-bit values between them; a pass that would change nothing is left out. When shrinking, the filter
/// is stretched by the scale, so that every source pixel counts (antialiasing).
#pragma once

#include <negood/clip/image.hpp>
#include <negood/error.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>
#include <string>
#include <vector>

namespace negood {

enum class resample_filter {
  bicubic,  ///< Keys (1981) with a = -1/2; CLIP's
  bilinear  ///< the triangle; NegPrompt's own loader
};

/// A rectangle of pixels.
struct pixel_box {
  index_type x = 0, y = 0, width = 0, height = 0;
  friend bool operator==(const pixel_box&, const pixel_box&) = default;
};

namespace detail {

constexpr int resample_bits = 32 - 8 - 2;

/// Keeps the compiler from fusing a product with the sum that follows: one different rounding changes bytes.
inline double rounded(double value) {
  volatile double kept = value;
  return kept;
}

inline double filter_support(resample_filter filter) { return filter == resample_filter::bicubic ? 2.0 : 1.0; }

inline double filter_weight(resample_filter filter, double x) {
  x = std::fabs(x);
  if (filter == resample_filter::bilinear) return x < 1 ? 1 - x : 0;
  if (x < 1) return rounded((rounded(1.5 * x) - 2.5) * x * x) + 1;
  if (x < 2) return (rounded((rounded((x - 5) * x) + 8) * x) - 4) * -0.5;
  return 0;
}

/// For each output position: the first source position, how many, and their weights in fixed point.
struct resample_weights {
  index_type stride = 0;
  std::vector<index_type> first, count;
  std::vector<std::int32_t> values;  ///< [outputs, stride]

  /// Outputs `begin` to `begin + outputs` of `source` samples resampled to `target` samples.
  resample_weights(index_type source, index_type target, index_type begin, index_type outputs, resample_filter filter) {
    const double scale = static_cast<double>(source) / static_cast<double>(target);
    const double stretch = std::max(scale, 1.0);
    const double support = rounded(filter_support(filter) * stretch);
    const double shrink = 1.0 / stretch;
    stride = static_cast<index_type>(std::ceil(support)) * 2 + 1;
    first.resize(static_cast<std::size_t>(outputs));
    count.resize(static_cast<std::size_t>(outputs));
    values.assign(static_cast<std::size_t>(outputs * stride), 0);
    std::vector<double> weights(static_cast<std::size_t>(stride));
    for (index_type i = 0; i < outputs; ++i) {
      const double centre = rounded((static_cast<double>(begin + i) + 0.5) * scale);
      const auto low = std::max<index_type>(static_cast<index_type>(centre - support + 0.5), 0);
      const auto high = std::min<index_type>(static_cast<index_type>(centre + support + 0.5), source);
      double sum = 0;
      for (index_type j = 0; j < high - low; ++j) {
        const double w = filter_weight(filter, (static_cast<double>(j + low) - centre + 0.5) * shrink);
        weights[static_cast<std::size_t>(j)] = w;
        sum += w;
      }
      for (index_type j = 0; j < high - low; ++j) {
        double w = weights[static_cast<std::size_t>(j)];
        if (sum != 0) w /= sum;
        const double fixed = w * (1 << resample_bits);
        values[static_cast<std::size_t>(i * stride + j)] =
            static_cast<std::int32_t>(fixed < 0 ? fixed - 0.5 : fixed + 0.5);
      }
      first[static_cast<std::size_t>(i)] = low;
      count[static_cast<std::size_t>(i)] = high - low;
    }
  }
  index_type begin_of_source() const { return first.front(); }
  index_type end_of_source() const { return first.back() + count.back(); }
};

inline std::uint8_t clip8(std::int32_t sum) {
  return static_cast<std::uint8_t>(std::clamp(sum >> resample_bits, 0, 255));
}

/// Rows `[y0, y0 + rows)` of a region of `in`, resampled to `out.width` columns. Sixteen rows go together, transposed,
/// so that the inner loop runs over rows and vectorises.
inline void resample_rows(const image& in, index_type x0, index_type y0, const resample_weights& weights, image& out) {
  constexpr index_type lanes = 16;
  const index_type begin = weights.begin_of_source(), end = weights.end_of_source();
  std::vector<std::uint8_t> columns(static_cast<std::size_t>((end - begin) * 3 * lanes), 0);
  for (index_type top = 0; top < out.height; top += lanes) {
    const index_type rows = std::min(lanes, out.height - top);
    for (index_type r = 0; r < rows; ++r) {
      const std::uint8_t* line = in.pixel(x0 + begin, y0 + top + r);
      for (index_type j = 0; j < (end - begin) * 3; ++j) columns[static_cast<std::size_t>(j * lanes + r)] = line[j];
    }
    for (index_type x = 0; x < out.width; ++x) {
      const std::int32_t* w = weights.values.data() + x * weights.stride;
      const index_type first = weights.first[static_cast<std::size_t>(x)] - begin;
      const index_type taps = weights.count[static_cast<std::size_t>(x)];
      for (index_type c = 0; c < 3; ++c) {
        std::array<std::int32_t, lanes> sums;
        sums.fill(1 << (resample_bits - 1));
        for (index_type j = 0; j < taps; ++j) {
          const std::uint8_t* column = columns.data() + ((first + j) * 3 + c) * lanes;
          for (std::size_t r = 0; r < lanes; ++r) sums[r] += column[r] * w[j];
        }
        for (index_type r = 0; r < rows; ++r) out.pixel(x, top + r)[c] = clip8(sums[static_cast<std::size_t>(r)]);
      }
    }
  }
}

/// Columns of a region of `in` (as wide as `out`), resampled to `out.height` rows; `source_y0` is the region's row 0.
inline void resample_columns(const image& in, index_type x0, index_type source_y0, const resample_weights& weights,
                             image& out) {
  const auto n = static_cast<std::size_t>(out.width * 3);
  std::vector<std::int32_t> sums(n);
  for (index_type y = 0; y < out.height; ++y) {
    std::fill(sums.begin(), sums.end(), 1 << (resample_bits - 1));
    for (index_type j = 0; j < weights.count[static_cast<std::size_t>(y)]; ++j) {
      const std::int32_t w = weights.values[static_cast<std::size_t>(y * weights.stride + j)];
      const std::uint8_t* line = in.pixel(x0, source_y0 + weights.first[static_cast<std::size_t>(y)] + j);
      for (std::size_t i = 0; i < n; ++i) sums[i] += line[i] * w;
    }
    std::uint8_t* to = out.pixel(0, y);
    for (std::size_t i = 0; i < n; ++i) to[i] = clip8(sums[i]);
  }
}

inline void check_image(const image& picture, const char* where) {
  constexpr index_type longest = index_type{1} << 30;
  if (picture.width < 1 || picture.height < 1 || picture.width > longest || picture.height > longest ||
      picture.rgb.size() / 3 / static_cast<std::size_t>(picture.width) != static_cast<std::size_t>(picture.height) ||
      picture.rgb.size() % (3 * static_cast<std::size_t>(picture.width)) != 0)
    fail(error_category::data, "negood.preprocess.1", where,
         std::to_string(picture.width) + " x " + std::to_string(picture.height) + " pixels in " +
             std::to_string(picture.rgb.size()) + " bytes is no RGB picture");
}

inline bool inside(const pixel_box& box, index_type width, index_type height) {
  return box.x >= 0 && box.y >= 0 && box.width >= 1 && box.height >= 1 && box.width <= width && box.height <= height &&
         box.x <= width - box.width && box.y <= height - box.height;
}

}  // namespace detail

/// The window `window` of `region` of `in` resized to `width` x `height` pixels: the same bytes as cropping `in` to
/// the region, resizing and cropping to the window, but only what the window shows is computed.
///
/// Throws negood.preprocess.1 if `in` is no picture, negood.preprocess.2 for a region or window outside its picture.
inline image resize_window(const image& in, const pixel_box& region, index_type width, index_type height,
                           const pixel_box& window, resample_filter filter = resample_filter::bicubic) {
  detail::check_image(in, "resize");
  constexpr index_type longest = index_type{1} << 52;  // positions are computed in double precision
  if (width < 1 || height < 1 || width > longest || height > longest || !detail::inside(region, in.width, in.height) ||
      !detail::inside(window, width, height))
    fail(error_category::usage, "negood.preprocess.2", "resize",
         "cannot take a window of " + std::to_string(window.width) + " x " + std::to_string(window.height) + " of " +
             std::to_string(width) + " x " + std::to_string(height) + " from a region of " +
             std::to_string(region.width) + " x " + std::to_string(region.height) + " in a picture of " +
             std::to_string(in.width) + " x " + std::to_string(in.height) + " pixels");
  image out(window.width, window.height);
  const bool columns_change = width != region.width, rows_change = height != region.height;
  if (!rows_change && !columns_change) {
    for (index_type y = 0; y < out.height; ++y)
      std::copy_n(in.pixel(region.x + window.x, region.y + window.y + y), out.width * 3, out.pixel(0, y));
    return out;
  }
  if (!rows_change) {
    const detail::resample_weights horizontal(region.width, width, window.x, window.width, filter);
    detail::resample_rows(in, region.x, region.y + window.y, horizontal, out);
    return out;
  }
  const detail::resample_weights vertical(region.height, height, window.y, window.height, filter);
  if (!columns_change) {
    detail::resample_columns(in, region.x + window.x, region.y, vertical, out);
    return out;
  }
  const detail::resample_weights horizontal(region.width, width, window.x, window.width, filter);
  const index_type first = vertical.begin_of_source();
  image between(window.width, vertical.end_of_source() - first);
  detail::resample_rows(in, region.x, region.y + first, horizontal, between);
  detail::resample_columns(between, 0, -first, vertical, out);
  return out;
}

/// A picture resized to `width` x `height` pixels, whatever its aspect.
inline image resize(const image& in, index_type width, index_type height,
                    resample_filter filter = resample_filter::bicubic) {
  return resize_window(in, {0, 0, in.width, in.height}, width, height, {0, 0, width, height}, filter);
}

}  // namespace negood
