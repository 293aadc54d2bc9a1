/// \file linear_activation.hpp  The first half of a feed-forward block: an affine layer and its activation.
#pragma once

#include <negood/math/activation.hpp>
#include <negood/math/linear.hpp>

namespace negood {

/// f = x W + b, which the pullback needs, and g = act(f), which the next layer takes.
template <Backend B>
struct linear_activation_value {
  tensor_t<B> f, g;
};

/// x `[n, in]` -> f, g `[n, h]`. Pullback to x: df = act'(f) * dg (`activation_pullback`), dx = df W'.
struct linear_activation_t {
  template <Backend B>
  linear_activation_value<B> operator()(B& ctx, const linear_weights<B>& w, activation_kind kind,
                                        const tensor_t<B>& x) const {
    if constexpr (overrides<B, linear_activation_t>)
      return ctx.fused(*this, w, kind, x);
    else
      return generic(ctx, w, kind, x);
  }
  template <Backend B>
  static linear_activation_value<B> generic(B& ctx, const linear_weights<B>& w, activation_kind kind,
                                            const tensor_t<B>& x) {
    auto f = linear(ctx, w, x);
    auto g = activation(ctx, kind, f);
    return {std::move(f), std::move(g)};
  }
};
inline constexpr linear_activation_t linear_activation{};

}  // namespace negood
