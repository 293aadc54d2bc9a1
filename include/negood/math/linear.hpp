/// \file linear.hpp  An affine layer with constant weights.
#pragma once

#include <negood/backend/concepts.hpp>

namespace negood {

/// The constants of y = x W + b: W `[in, out]` packed once, b `[1, out]`.
template <Backend B>
struct linear_weights {
  frozen_t<B> weight;
  tensor_t<B> bias;
};

/// y = x W + b. x `[n, in]` -> `[n, out]`. Pullback to x: dx = dy W', which is `ctx.matmul_nt(dy, w.weight)`.
struct linear_t {
  template <Backend B>
  tensor_t<B> operator()(B& ctx, const linear_weights<B>& w, const tensor_t<B>& x) const {
    if constexpr (overrides<B, linear_t>)
      return ctx.fused(*this, w, x);
    else
      return generic(ctx, w, x);
  }
  template <Backend B>
  static tensor_t<B> generic(B& ctx, const linear_weights<B>& w, const tensor_t<B>& x) {
    return ctx.map_cols(element::add{}, ctx.matmul(x, w.weight), w.bias);
  }
};
inline constexpr linear_t linear{};

}  // namespace negood
