/// \file encode_crops.hpp  Random crops of training images, encoded, ranked against their label, and the extremes kept.
#pragma once

#include <negood/clip/augment.hpp>
#include <negood/clip/encode_image.hpp>
#include <negood/feature/rank_crops.hpp>

#include <functional>

namespace negood::clip {

struct crop_options {
  index_type crops = 256;                              ///< P an image
  index_type keep = 32;                                ///< Q on either side
  augment_options augment{};                           ///< sizes, aspects, flips, seed
  resample_filter filter = resample_filter::bilinear;  ///< of the crops, as published; test images keep the model's own
  std::function<void(index_type)> on_image{};          ///< called with the number of images done
};

/// Kept crops, image-major: what `fit_krnft` takes.
template <class Real>
struct crop_features {
  host_matrix<Real> positives;  ///< `[K Q, D]` unit rows, best first: row i Q is the anchor of image i
  host_matrix<Real> negatives;  ///< `[K Q, D]`, worst first
};

/// Encodes P random crops of each of `count` pictures and keeps the Q nearest to the text of the picture's label and
/// the Q farthest from it (KR-NFT's training data; see `rank_crops`). `load(i)` gives picture i, once;
/// `label_text` is `[count, D]`, unit rows: the text of each picture's label. Crops are functions of (seed, picture,
/// crop) alone. Memory for pictures does not grow with `count`. \throws as rank_crops; what `load` and `on_image` throw
template <Backend B, class Load>
crop_features<real_t<B>> encode_crops(B& ctx, const model<B>& m, index_type count, const Load& load,
                                      host_view<real_t<B>> label_text, const crop_options& options = {}) {
  using real = real_t<B>;
  const index_type p = options.crops, q = options.keep, width = require_image(m, "encode_crops").config.embedding;
  require_shape(label_text.rows == count && label_text.cols == width, "encode_crops", "label texts", label_text.rows,
                label_text.cols, "pictures", count, width, "the text of every picture's label");
  if (q < 1 || p / 2 < q)
    fail(error_category::usage, "negood.krnft.8", "encode_crops",
         std::to_string(p) + " crops for " + std::to_string(q) + " positives and as many negatives",
         "draw at least twice as many crops as are kept on a side");
  auto how = m.preprocessing;
  how.filter = options.filter;
  crop_features<real> out{host_matrix<real>(count * q, width), host_matrix<real>(count * q, width)};
  const index_type at_once = std::max<index_type>(1, 256 / p);
  for (index_type first = 0; first < count; first += at_once) {
    const index_type n = std::min(at_once, count - first);
    std::vector<negood::image> pictures(static_cast<std::size_t>(n));
    ctx.for_each_task(n, [&](B&, index_type i) { pictures[static_cast<std::size_t>(i)] = load(first + i); });
    const auto features = encode_images_from(ctx, m, n * p, [&](index_type i) {
      const auto& picture = pictures[static_cast<std::size_t>(i / p)];
      negood::detail::check_image(picture, "encode_crops");
      return view_square(picture, choose_view(picture.width, picture.height, options.augment, first + i / p, i % p),
                         how);
    });
    for (index_type i = 0; i < n; ++i) {
      const auto crops = features.view().slice_rows(i * p, p);
      const auto ranked = rank_crops<real>(crops, label_text.row(first + i), q);
      for (index_type j = 0; j < q; ++j) {
        const index_type to = (first + i) * q + j;
        std::ranges::copy(crops.row(ranked.best[static_cast<std::size_t>(j)]), out.positives.row(to).begin());
        std::ranges::copy(crops.row(ranked.worst[static_cast<std::size_t>(j)]), out.negatives.row(to).begin());
      }
    }
    if (options.on_image) options.on_image(first + n);
  }
  return out;
}

}  // namespace negood::clip
