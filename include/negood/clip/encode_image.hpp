/// \file encode_image.hpp  Pictures to unit features: each task decodes, preprocesses and encodes its own.
#pragma once

#include <negood/clip/model.hpp>

#include <algorithm>
#include <span>

namespace negood::clip {

/// Projected, not normalised features of `count` pictures, `[count, e]`; `load(i)` gives picture i.
///
/// `load` is called once for every i, from the threads that run the tasks, so reading files runs beside the products;
/// no more pictures are in memory than tasks run at once (about 400 token rows each).
template <Backend B, class Load>
host_matrix<real_t<B>> encode_images_from_raw(B& ctx, const model<B>& m, index_type count, const Load& load) {
  const auto& tower = require_image(m, "encode_images");
  host_matrix<real_t<B>> out(count, tower.config.embedding);
  const index_type group = std::max<index_type>(1, 400 / tower.config.tokens());
  const index_type values = 3 * tower.config.image_size * tower.config.image_size;
  ctx.for_each_task((count + group - 1) / group, [&](auto& worker, index_type t) {
    const index_type first = t * group, size = std::min(group, count - first);
    host_matrix<float> pixels(size, values);
    for (index_type i = 0; i < size; ++i) {
      const host_matrix<float> one = preprocess(load(first + i), m.preprocessing);
      require_shape(one.size() == values, "encode_images", "preprocessed image", one.rows(), one.cols(), "model wants",
                    1, values, "preprocess with the model's own options");
      std::ranges::copy(one.values(), pixels.row(i).begin());
    }
    const auto features = worker.to_host(detail::encode_image_group(worker, tower, pixels.view()));
    std::ranges::copy(features.values(), out.row(first).begin());
  });
  return out;
}

/// As above, unit rows.
template <Backend B, class Load>
host_matrix<real_t<B>> encode_images_from(B& ctx, const model<B>& m, index_type count, const Load& load) {
  const auto raw = encode_images_from_raw(ctx, m, count, load);
  if (count == 0) return raw;
  return ctx.to_host(normalise_rows(ctx, ctx.from_host(raw.view())).unit);
}

/// Unit features of pictures in memory, `[N, e]`.
template <Backend B>
host_matrix<real_t<B>> encode_images(B& ctx, const model<B>& m, std::span<const negood::image> images) {
  return encode_images_from(ctx, m, static_cast<index_type>(images.size()),
                            [&](index_type i) -> const negood::image& { return images[static_cast<std::size_t>(i)]; });
}

/// The unit feature of one picture, `[1, e]`.
template <Backend B>
host_matrix<real_t<B>> encode_image(B& ctx, const model<B>& m, const negood::image& picture) {
  return encode_images(ctx, m, std::span<const negood::image>(&picture, 1));
}

}  // namespace negood::clip
