/// \file activation.hpp  The two activations of CLIP's feed-forward blocks.
#pragma once

#include <negood/backend/concepts.hpp>

namespace negood {

/// Which one a checkpoint was trained with cannot be read from its weights: `config.json` says it.
enum class activation_kind {
  quick_gelu,  ///< x sigmoid(1.702 x): OpenAI's weights
  gelu         ///< x Phi(x), exact: OpenCLIP's weights
};

/// g = act(f), element by element. f `[n, h]` -> `[n, h]`.
struct activation_t {
  template <Backend B>
  tensor_t<B> operator()(B& ctx, activation_kind kind, const tensor_t<B>& f) const {
    if constexpr (overrides<B, activation_t>)
      return ctx.fused(*this, kind, f);
    else
      return generic(ctx, kind, f);
  }
  template <Backend B>
  static tensor_t<B> generic(B& ctx, activation_kind kind, const tensor_t<B>& f) {
    return kind == activation_kind::gelu ? ctx.map(element::gelu{}, f) : ctx.map(element::quick_gelu{}, f);
  }
};
inline constexpr activation_t activation{};

/// Pullback of `activation`: df = act'(f) * dg. f, dg `[n, h]` -> `[n, h]`.
struct activation_pullback_t {
  template <Backend B>
  tensor_t<B> operator()(B& ctx, activation_kind kind, const tensor_t<B>& f, const tensor_t<B>& dg) const {
    if constexpr (overrides<B, activation_pullback_t>)
      return ctx.fused(*this, kind, f, dg);
    else
      return generic(ctx, kind, f, dg);
  }
  template <Backend B>
  static tensor_t<B> generic(B& ctx, activation_kind kind, const tensor_t<B>& f, const tensor_t<B>& dg) {
    const auto slope = kind == activation_kind::gelu ? ctx.map(element::gelu_derivative{}, f)
                                                     : ctx.map(element::quick_gelu_derivative{}, f);
    return ctx.map(element::multiply{}, slope, dg);
  }
};
inline constexpr activation_pullback_t activation_pullback{};

}  // namespace negood
