/// \file cross_entropy.hpp  Stage 1 of NegPrompt, which is CoOp's loss (Zhou et al. 2022, Eq. 2).
#pragma once

#include <negood/math/logsumexp.hpp>

#include <span>
#include <vector>

namespace negood {

/// A loss and its gradient to one feature matrix. The value stays on the device as `[1, 1]`.
template <Backend B>
struct loss_value {
  tensor_t<B> value;
  tensor_t<B> gradient;
};

namespace detail {

/// sum of all entries of a * b, `[1, 1]`
template <Backend B>
tensor_t<B> inner_product(B& ctx, const tensor_t<B>& a, const tensor_t<B>& b) {
  return ctx.reduce_all(reduction::sum{}, ctx.map(element::multiply{}, a, b));
}

/// s I F', `[B, C]`
template <Backend B>
tensor_t<B> logits(B& ctx, const tensor_t<B>& images, const tensor_t<B>& features, double scale) {
  require_shape(ctx.cols(images) == ctx.cols(features), "logits", "images", ctx.rows(images), ctx.cols(images),
                "features", ctx.rows(features), ctx.cols(features), "widths must match");
  return ctx.map(element::scale{scale}, ctx.matmul_nt(images, features));
}

}  // namespace detail

/// Cross-entropy of the true class among the positives.
///
///     z_bk = s <I_b, P_k>,   L = (1/B) sum_b [ logsumexp_k z_bk - z_b,y(b) ]
///     dL/dP_k = (s/B) sum_b (softmax(z_b)_k - [k = y(b)]) I_b
///
/// images `[B, e]`, positives `[K, e]`, labels `[B]` in [0, K). No label smoothing, as in the paper.
struct cross_entropy_t {
  template <Backend B>
  loss_value<B> operator()(B& ctx, const tensor_t<B>& images, const tensor_t<B>& positives,
                           std::span<const index_type> labels, double scale) const {
    const double per_image = 1.0 / static_cast<double>(labels.size());
    const auto z = detail::logits(ctx, images, positives, scale);
    const auto lse = ctx.reduce_all(reduction::sum{}, logsumexp_rows(ctx, z));
    const auto own = detail::inner_product(ctx, images, ctx.gather_rows(positives, labels));
    auto value = ctx.map(element::scale{per_image}, ctx.map(element::add_scaled{-scale}, lse, own));

    auto gradient = ctx.matmul_tn(softmax_rows(ctx, z), images);
    ctx.scatter_add_rows(gradient, labels, ctx.map(element::scale{-1.0}, images));
    return {std::move(value), ctx.map(element::scale{scale * per_image}, gradient)};
  }
};
inline constexpr cross_entropy_t cross_entropy{};

}  // namespace negood
