/// \file logit_statistics.hpp  The two numbers every score is made of: largest logit and log-sum-exp of all.
#pragma once

#include <negood/math/logsumexp.hpp>

namespace negood {

/// Of each image's logits z = s <h, t_j> over a set of texts.
template <Backend B>
struct logit_statistics_of {
  tensor_t<B> maximum;    ///< `[N, 1]`
  tensor_t<B> logsumexp;  ///< `[N, 1]`
};

/// Largest logit and log-sum-exp of s I T', without keeping the logits where a backend fuses it.
///
/// images `[N, D]`, texts `[M, D]` (packed) -> two `[N, 1]`.
struct logit_statistics_t {
  template <Backend B>
  logit_statistics_of<B> operator()(B& ctx, const tensor_t<B>& images, const frozen_t<B>& texts, double scale) const {
    require_shape(ctx.cols(images) == ctx.cols(texts), "score", "images", ctx.rows(images), ctx.cols(images), "texts",
                  ctx.rows(texts), ctx.cols(texts), "widths must match");
    if constexpr (overrides<B, logit_statistics_t>)
      return ctx.fused(*this, images, texts, scale);
    else
      return generic(ctx, images, texts, scale);
  }
  template <Backend B>
  static logit_statistics_of<B> generic(B& ctx, const tensor_t<B>& images, const frozen_t<B>& texts, double scale) {
    const auto z = ctx.map(element::scale{scale}, ctx.matmul_nt(images, texts));
    return {ctx.reduce_rows(reduction::maximum{}, z), logsumexp_rows(ctx, z)};
  }
};
inline constexpr logit_statistics_t logit_statistics{};

}  // namespace negood
