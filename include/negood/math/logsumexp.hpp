/// \file logsumexp.hpp  Log-sum-exp and softmax of each row, without overflow.
#pragma once

#include <negood/backend/concepts.hpp>

namespace negood {

/// Log-sum-exp of each row.
///
///     out_i = m_i + log sum_j exp(z_ij - m_i),   m_i = max_j z_ij
///
/// z `[n, c]` -> `[n, 1]`. Gradient: d out_i / d z_ij = softmax(z_i)_j.
struct logsumexp_rows_t {
  template <Backend B>
  tensor_t<B> operator()(B& ctx, const tensor_t<B>& z) const {
    if constexpr (overrides<B, logsumexp_rows_t>)
      return ctx.fused(*this, z);
    else
      return generic(ctx, z);
  }
  template <Backend B>
  static tensor_t<B> generic(B& ctx, const tensor_t<B>& z) {
    const auto m = ctx.reduce_rows(reduction::maximum{}, z);
    const auto e = ctx.map(element::exp{}, ctx.map_rows(element::subtract{}, z, m));
    return ctx.map(element::add{}, m, ctx.map(element::log{}, ctx.reduce_rows(reduction::sum{}, e)));
  }
};
inline constexpr logsumexp_rows_t logsumexp_rows{};

/// Softmax of each row: out_ij = exp(z_ij - m_i) / sum_k exp(z_ik - m_i), m_i = max_k z_ik. z `[n, c]` -> `[n, c]`.
///
/// Not exp(z_ij - logsumexp(z_i)): rounding that sum to a number of the size of m costs |m| eps in every entry.
struct softmax_rows_t {
  template <Backend B>
  tensor_t<B> operator()(B& ctx, const tensor_t<B>& z) const {
    if constexpr (overrides<B, softmax_rows_t>)
      return ctx.fused(*this, z);
    else
      return generic(ctx, z);
  }
  template <Backend B>
  static tensor_t<B> generic(B& ctx, const tensor_t<B>& z) {
    const auto m = ctx.reduce_rows(reduction::maximum{}, z);
    const auto e = ctx.map(element::exp{}, ctx.map_rows(element::subtract{}, z, m));
    return ctx.map_rows(element::divide{}, e, ctx.reduce_rows(reduction::sum{}, e));
  }
};
inline constexpr softmax_rows_t softmax_rows{};

}  // namespace negood
