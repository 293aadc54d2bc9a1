/// \file image_tower.hpp  CLIP's vision transformer (Radford et al. 2021, §2.4): patches in, projected class token out.
#pragma once

#include <negood/clip/transformer.hpp>
#include <negood/math/normalise.hpp>

#include <algorithm>
#include <array>
#include <string>

namespace negood::clip {

/// Shapes of a vision tower, read from its weights, and the preprocessing it was trained with.
struct image_config {
  index_type width = 0;
  index_type heads = 0;
  index_type layers = 0;
  index_type patch = 0;
  index_type image_size = 0;
  index_type embedding = 0;
  activation_kind activation = activation_kind::quick_gelu;
  std::array<float, 3> mean{0.48145466F, 0.4578275F, 0.40821073F};
  std::array<float, 3> std{0.26862954F, 0.26130258F, 0.27577711F};

  index_type grid() const noexcept { return image_size / patch; }
  index_type tokens() const noexcept { return 1 + grid() * grid(); }
};

/// The frozen vision tower.
template <Backend B>
struct image_tower {
  image_config config;
  frozen_t<B> patch_embedding;       ///< `[3 patch^2, w]`, channel-major within a patch
  tensor_t<B> class_embedding;       ///< `[1, w]`
  tensor_t<B> positional_embedding;  ///< `[tokens, w]`
  layer_norm_weights<B> ln_pre, ln_post;
  std::vector<transformer_layer<B>> layers;
  frozen_t<B> projection;  ///< `[w, e]`
};

namespace detail {

/// Rearranges preprocessed images (`[n, 3 H W]`, channel-major) into one row a patch, `[n grid^2, 3 patch^2]`.
template <class Real>
host_matrix<Real> patches(const image_config& c, host_view<float> images) {
  const index_type g = c.grid(), side = c.image_size, area = c.patch * c.patch;
  host_matrix<Real> out(images.rows * g * g, 3 * area);
  for (index_type n = 0; n < images.rows; ++n)
    for (index_type gy = 0; gy < g; ++gy)
      for (index_type gx = 0; gx < g; ++gx) {
        auto row = out.row((n * g + gy) * g + gx);
        for (index_type channel = 0; channel < 3; ++channel)
          for (index_type y = 0; y < c.patch; ++y)
            for (index_type x = 0; x < c.patch; ++x)
              row[channel * area + y * c.patch + x] =
                  static_cast<Real>(images(n, (channel * side + gy * c.patch + y) * side + gx * c.patch + x));
      }
  return out;
}

/// One group of images through the tower, `[n, e]`, not normalised.
template <Backend B>
tensor_t<B> encode_image_group(B& ctx, const image_tower<B>& tower, host_view<float> images) {
  const auto& c = tower.config;
  const index_type tokens = c.tokens(), patches_each = tokens - 1;
  const auto embedded = ctx.matmul(ctx.from_host(patches<real_t<B>>(c, images).view()), tower.patch_embedding);
  auto x = ctx.zeros(images.rows * tokens, c.width);
  for (index_type n = 0; n < images.rows; ++n) {
    ctx.paste(x, tower.class_embedding, n * tokens, 0);
    ctx.paste(x, ctx.block(embedded, n * patches_each, 0, patches_each, c.width), n * tokens + 1, 0);
  }
  std::vector<index_type> position;
  for (index_type n = 0; n < images.rows; ++n)
    for (index_type t = 0; t < tokens; ++t) position.push_back(t);
  x = layer_norm(ctx, tower.ln_pre, ctx.map(element::add{}, x, ctx.gather_rows(tower.positional_embedding, position)));

  const auto layout = ragged_rows::equal(images.rows, tokens);
  const auto no_prefix = ctx.zeros(0, 2 * c.width);
  for (index_type i = 0; i < c.layers; ++i) {
    const attention_layout how{layout, c.heads, false, i + 1 == c.layers ? query_rows::first : query_rows::all};
    x = leave(ctx, tower.layers[i], how, c.activation, enter(ctx, tower.layers[i], how, std::move(x)), no_prefix);
  }
  return ctx.matmul(layer_norm(ctx, tower.ln_post, x), tower.projection);
}

}  // namespace detail

/// Features of preprocessed images (`[n, 3 H W]`, from `preprocess`), `[n, e]`, not normalised. Groups of images run as
/// tasks; a group holds about 400 rows, so that memory does not grow with the number of images.
template <Backend B>
host_matrix<real_t<B>> encode_images_raw(B& ctx, const image_tower<B>& tower, host_view<float> images) {
  const auto& c = tower.config;
  if (images.cols != 3 * c.image_size * c.image_size)
    fail(error_category::data, "negood.shape.2", "encode_images",
         "images is " + shape_string(images.rows, images.cols) + ", the model wants " +
             shape_string(images.rows, 3 * c.image_size * c.image_size),
         "preprocess the images with this model's preprocessing");
  const index_type group = std::max<index_type>(1, 400 / c.tokens());
  host_matrix<real_t<B>> out(images.rows, c.embedding);
  ctx.for_each_task((images.rows + group - 1) / group, [&](auto& worker, index_type t) {
    const index_type first = t * group, count = std::min(group, images.rows - first);
    const auto features = worker.to_host(detail::encode_image_group(worker, tower, images.slice_rows(first, count)));
    std::ranges::copy(features.values(), out.row(first).begin());
  });
  return out;
}

/// Unit image features, `[n, e]`.
template <Backend B>
host_matrix<real_t<B>> encode_images(B& ctx, const image_tower<B>& tower, host_view<float> images) {
  if (images.rows == 0) return host_matrix<real_t<B>>(0, tower.config.embedding);
  const auto raw = encode_images_raw(ctx, tower, images);
  return ctx.to_host(normalise_rows(ctx, ctx.from_host(raw.view())).unit);
}

}  // namespace negood::clip
