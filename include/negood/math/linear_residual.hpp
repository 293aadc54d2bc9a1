/// \file linear_residual.hpp  The end of a residual block: an affine layer added to the rows it started from.
#pragma once

#include <negood/math/linear.hpp>

namespace negood {

/// y = x + (a W + b). a `[n, in]`, x `[n, out]` -> `[n, out]`. Pullback: dx = dy, da = dy W'.
struct linear_residual_t {
  template <Backend B>
  tensor_t<B> operator()(B& ctx, const linear_weights<B>& w, const tensor_t<B>& a, const tensor_t<B>& x) const {
    if constexpr (overrides<B, linear_residual_t>)
      return ctx.fused(*this, w, a, x);
    else
      return generic(ctx, w, a, x);
  }
  template <Backend B>
  static tensor_t<B> generic(B& ctx, const linear_weights<B>& w, const tensor_t<B>& a, const tensor_t<B>& x) {
    return ctx.map(element::add{}, x, linear(ctx, w, a));
  }
};
inline constexpr linear_residual_t linear_residual{};

}  // namespace negood
