/// \file layer_norm.hpp  Layer normalisation (Ba et al. 2016) with frozen gain and bias.
#pragma once

#include <negood/backend/concepts.hpp>

namespace negood {

/// The constants of one layer norm; both `[1, d]`.
template <Backend B>
struct layer_norm_weights {
  tensor_t<B> gain;
  tensor_t<B> bias;
};

/// CLIP's epsilon, in every tower.
inline constexpr double layer_norm_epsilon = 1e-5;

/// Layer normalisation of each row.
///
///     xhat = (x - mean(x)) / sigma,   sigma = sqrt(var(x) + eps),   y = gain * xhat + bias
///
/// x `[n, d]` -> `[n, d]`.
struct layer_norm_t {
  template <Backend B>
  tensor_t<B> operator()(B& ctx, const layer_norm_weights<B>& w, const tensor_t<B>& x) const {
    if constexpr (overrides<B, layer_norm_t>)
      return ctx.fused(*this, w, x);
    else
      return generic(ctx, w, x);
  }
  template <Backend B>
  static tensor_t<B> generic(B& ctx, const layer_norm_weights<B>& w, const tensor_t<B>& x) {
    const auto [xhat, sigma] = standardise(ctx, x);
    return ctx.map_cols(element::add{}, ctx.map_cols(element::multiply{}, xhat, w.gain), w.bias);
  }

  template <Backend B>
  struct standardised {
    tensor_t<B> xhat;   ///< `[n, d]`
    tensor_t<B> sigma;  ///< `[n, 1]`
  };
  template <Backend B>
  static standardised<B> standardise(B& ctx, const tensor_t<B>& x) {
    const double per_column = 1.0 / static_cast<double>(ctx.cols(x));
    const auto row_mean = [&](const tensor_t<B>& t) {
      return ctx.map(element::scale{per_column}, ctx.reduce_rows(reduction::sum{}, t));
    };
    const auto centred = ctx.map_rows(element::subtract{}, x, row_mean(x));
    const auto variance = row_mean(ctx.map(element::square{}, centred));
    auto sigma = ctx.map(element::sqrt{}, ctx.map(element::shift{layer_norm_epsilon}, variance));
    auto xhat = ctx.map_rows(element::divide{}, centred, sigma);
    return {std::move(xhat), std::move(sigma)};
  }
};
inline constexpr layer_norm_t layer_norm{};

/// Pullback of `layer_norm` to its input; the statistics are recomputed from x, which costs less than keeping them.
///
///     g = gain * dy,   dx = (g - mean(g) - xhat * mean(g * xhat)) / sigma
///
/// x, dy `[n, d]` -> dx `[n, d]`.
struct layer_norm_pullback_t {
  template <Backend B>
  tensor_t<B> operator()(B& ctx, const layer_norm_weights<B>& w, const tensor_t<B>& x, const tensor_t<B>& dy) const {
    if constexpr (overrides<B, layer_norm_pullback_t>)
      return ctx.fused(*this, w, x, dy);
    else
      return generic(ctx, w, x, dy);
  }
  template <Backend B>
  static tensor_t<B> generic(B& ctx, const layer_norm_weights<B>& w, const tensor_t<B>& x, const tensor_t<B>& dy) {
    const double per_column = 1.0 / static_cast<double>(ctx.cols(x));
    const auto row_mean = [&](const tensor_t<B>& t) {
      return ctx.map(element::scale{per_column}, ctx.reduce_rows(reduction::sum{}, t));
    };
    const auto [xhat, sigma] = layer_norm_t::standardise(ctx, x);
    const auto g = ctx.map_cols(element::multiply{}, dy, w.gain);
    const auto along = ctx.map_rows(element::multiply{}, xhat, row_mean(ctx.map(element::multiply{}, g, xhat)));
    const auto centred = ctx.map_rows(element::subtract{}, g, row_mean(g));
    return ctx.map_rows(element::divide{}, ctx.map(element::subtract{}, centred, along), sigma);
  }
};
inline constexpr layer_norm_pullback_t layer_norm_pullback{};

}  // namespace negood
