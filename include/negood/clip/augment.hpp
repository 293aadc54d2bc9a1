/// \file augment.hpp  Several random views of a training image, so that cached features keep some augmentation.
///
/// Each view is the published recipe's: a random part of the picture, resized to the tower's square, mirrored half the
/// time. A view is a function of (seed, image, view) alone: the same for any order, batch size or thread.
#pragma once

#include <negood/clip/image.hpp>
#include <negood/clip/preprocess.hpp>
#include <negood/clip/resize.hpp>
#include <negood/train/random.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace negood {

struct augment_options {
  double min_area = 0.08;         ///< smallest part of the picture's area that a crop may have
  double max_area = 1.0;          ///< largest
  double min_aspect = 3.0 / 4.0;  ///< narrowest crop, width over height
  double max_aspect = 4.0 / 3.0;  ///< widest
  double flip = 0.5;              ///< chance of mirroring left and right
  std::uint64_t seed = 1;
};

/// Which part of a picture a view shows, and whether mirrored.
struct view_choice {
  pixel_box box;
  bool mirrored = false;
};

/// Draws a view: area uniform, aspect log-uniform, position uniform; after ten crops that do not fit, the largest
/// centred one of allowed aspect (torchvision's RandomResizedCrop, then RandomHorizontalFlip).
///
/// Throws negood.preprocess.4 for ranges that are empty or not positive, negood.random.1 beyond 2^40 images or 2^24
/// views.
inline view_choice choose_view(index_type width, index_type height, const augment_options& options,
                               index_type image_index, index_type view) {
  const auto range = [](double low, double high, double top) { return low > 0 && low <= high && high <= top; };
  if (!range(options.min_area, options.max_area, 1) || !range(options.min_aspect, options.max_aspect, 1e6) ||
      !(options.flip >= 0 && options.flip <= 1))
    fail(error_category::usage, "negood.preprocess.4", "augment",
         "areas must satisfy 0 < min <= max <= 1, aspects 0 < min <= max, flip a chance from 0 to 1");
  random_sequence draws(options.seed, random_purpose::crop,
                        pair_index(static_cast<std::uint64_t>(image_index), static_cast<std::uint64_t>(view)));
  view_choice out;
  out.mirrored = draws.next_uniform() < options.flip;
  const auto w = static_cast<double>(width), h = static_cast<double>(height);
  for (int attempt = 0; attempt < 10; ++attempt) {
    const double area = w * h * draws.next_uniform(options.min_area, options.max_area);
    const double aspect = std::exp(draws.next_uniform(std::log(options.min_aspect), std::log(options.max_aspect)));
    const double crop_w = std::nearbyint(std::sqrt(area * aspect)), crop_h = std::nearbyint(std::sqrt(area / aspect));
    if (crop_w < 1 || crop_h < 1 || crop_w > w || crop_h > h) continue;
    out.box.width = static_cast<index_type>(crop_w);
    out.box.height = static_cast<index_type>(crop_h);
    out.box.x = static_cast<index_type>(draws.next_below(static_cast<std::uint64_t>(width - out.box.width) + 1));
    out.box.y = static_cast<index_type>(draws.next_below(static_cast<std::uint64_t>(height - out.box.height) + 1));
    return out;
  }
  const double crop_w = std::min(w, std::nearbyint(h * options.max_aspect));
  const double crop_h = std::min(h, std::nearbyint(w / options.min_aspect));
  out.box.width = std::max<index_type>(1, static_cast<index_type>(crop_w));
  out.box.height = std::max<index_type>(1, static_cast<index_type>(crop_h));
  out.box.x = (width - out.box.width) / 2;
  out.box.y = (height - out.box.height) / 2;
  return out;
}

/// The bytes of one view of a picture, image_size squared.
inline image view_square(const image& picture, const view_choice& choice, const preprocess_options& options) {
  detail::check_preprocess(options);
  const index_type size = options.image_size;
  image out = resize_window(picture, choice.box, size, size, {0, 0, size, size}, options.filter);
  if (choice.mirrored)
    for (index_type y = 0; y < size; ++y)
      for (index_type x = 0; x < size / 2; ++x)
        std::swap_ranges(out.pixel(x, y), out.pixel(x, y) + 3, out.pixel(size - 1 - x, y));
  return out;
}

/// One view of a picture as the image tower takes it, `[1, 3 S S]` like `preprocess`.
inline host_matrix<float> augmented_view(const image& picture, const preprocess_options& options,
                                         const augment_options& augment, index_type image_index, index_type view) {
  detail::check_image(picture, "augment");
  const image square =
      view_square(picture, choose_view(picture.width, picture.height, augment, image_index, view), options);
  host_matrix<float> out(1, 3 * square.width * square.height);
  detail::normalise_pixels(square, options, out.data());
  return out;
}

/// Views 0 to `views - 1` of a picture, `[views, 3 S S]`.
inline host_matrix<float> augmented_views(const image& picture, const preprocess_options& options,
                                          const augment_options& augment, index_type image_index, index_type views) {
  detail::check_preprocess(options);
  host_matrix<float> out(std::max<index_type>(views, 0), 3 * options.image_size * options.image_size);
  for (index_type v = 0; v < views; ++v) {
    const auto one = augmented_view(picture, options, augment, image_index, v);
    std::copy(one.values().begin(), one.values().end(), out.row(v).begin());
  }
  return out;
}

}  // namespace negood
