/// \file attention.hpp  Multi-head attention over ragged sequences that share a prefix of keys and values.
#pragma once

#include <negood/backend/concepts.hpp>
#include <negood/math/logsumexp.hpp>
#include <negood/math/ragged.hpp>

#include <cmath>
#include <limits>

namespace negood {

/// Which rows of a sequence ask.
enum class query_rows {
  all,   ///< every row: q has one row a token
  last,  ///< the last row only: q has one row a sequence (last layer of the text tower)
  first  ///< the first row only: q has one row a sequence (last layer of the image tower)
};

/// How the rows of q and kv are to be read.
struct attention_layout {
  const ragged_rows& sequences;  ///< rows of kv, and of q when every row asks
  index_type heads;
  bool causal;  ///< a row sees the whole prefix and the rows of its own sequence up to itself
  query_rows queries = query_rows::all;
};

namespace detail {

/// One head of one sequence, gathered: keys and values are [prefix | own rows].
template <Backend B>
struct attention_head {
  index_type query_row, first_row, rows, column;  // where it lies in q, in kv, and in the columns of both
  tensor_t<B> query, key, value, probability;     // [T, w], [P + L, w], [P + L, w], [T, P + L]
};

/// Calls visit(head) for every head of every sequence, in order: the plain form that value and pullback share.
template <Backend B, class Visit>
void for_each_attention_head(B& ctx, const attention_layout& layout, const tensor_t<B>& q, const tensor_t<B>& kv,
                             const tensor_t<B>& prefix_kv, Visit&& visit) {
  using real = real_t<B>;
  const index_type d = ctx.cols(q), width = d / layout.heads, prefix = ctx.rows(prefix_kv);
  for (index_type s = 0; s < layout.sequences.sequences(); ++s) {
    const index_type first = layout.sequences.first(s), length = layout.sequences.length(s);
    const bool all = layout.queries == query_rows::all;
    const index_type query_row = all ? first : s, queries = all ? length : 1;

    // A causal query at own position t must not see own rows after t.
    host_matrix<real> hidden(queries, prefix + length);
    const index_type first_position = layout.queries == query_rows::last ? length - 1 : 0;
    if (layout.causal)
      for (index_type t = 0; t < queries; ++t)
        for (index_type j = first_position + t + 1; j < length; ++j)
          hidden(t, prefix + j) = -std::numeric_limits<real>::infinity();
    const auto mask = ctx.from_host(hidden.view());

    const auto with_prefix = [&](index_type column) {
      auto out = ctx.zeros(prefix + length, width);
      if (prefix > 0) ctx.paste(out, ctx.block(prefix_kv, 0, column, prefix, width), 0, 0);
      ctx.paste(out, ctx.block(kv, first, column, length, width), prefix, 0);
      return out;
    };
    for (index_type column = 0; column < d; column += width) {
      auto query = ctx.block(q, query_row, column, queries, width);
      auto key = with_prefix(column);
      auto value = with_prefix(d + column);
      const element::scale per_root_width{1.0 / std::sqrt(static_cast<double>(width))};
      const auto score = ctx.map(per_root_width, ctx.matmul_nt(query, key));
      auto probability = softmax_rows(ctx, ctx.map(element::add{}, score, mask));
      visit(attention_head<B>{query_row, first, length, column, std::move(query), std::move(key), std::move(value),
                              std::move(probability)});
    }
  }
}

/// out[r0.., c0..] += a
template <Backend B>
void add_block(B& ctx, tensor_t<B>& out, const tensor_t<B>& a, index_type r0, index_type c0) {
  if (ctx.rows(a) == 0) return;
  const auto there = ctx.block(out, r0, c0, ctx.rows(a), ctx.cols(a));
  ctx.paste(out, ctx.map(element::add{}, there, a), r0, c0);
}

}  // namespace detail

/// Attention of every sequence over [shared prefix | own rows], head by head.
///
///     A_ts = softmax_s( <q_t, k_s> / sqrt(w) ),   o_t = sum_s A_ts v_s,   w = d / heads
///
/// `q` is `[Q, d]`, `kv` is `[R, 2d]` (keys, then values), `prefix_kv` is `[P, 2d]`, P >= 0 rows seen by every
/// sequence. Returns `[Q, d]`. Sharing the prefix is exact because attention is causal: no prefix row depends on what
/// follows it.
struct attention_t {
  template <Backend B>
  tensor_t<B> operator()(B& ctx, const attention_layout& layout, const tensor_t<B>& q, const tensor_t<B>& kv,
                         const tensor_t<B>& prefix_kv) const {
    if constexpr (overrides<B, attention_t>)
      return ctx.fused(*this, layout, q, kv, prefix_kv);
    else
      return generic(ctx, layout, q, kv, prefix_kv);
  }
  template <Backend B>
  static tensor_t<B> generic(B& ctx, const attention_layout& layout, const tensor_t<B>& q, const tensor_t<B>& kv,
                             const tensor_t<B>& prefix_kv) {
    auto out = ctx.zeros(ctx.rows(q), ctx.cols(q));
    detail::for_each_attention_head(ctx, layout, q, kv, prefix_kv, [&](const auto& head) {
      ctx.paste(out, ctx.matmul(head.probability, head.value), head.query_row, head.column);
    });
    return out;
  }
};
inline constexpr attention_t attention{};

/// Gradients of attention to its own rows; the prefix's gradient is accumulated by the caller's tensor.
template <Backend B>
struct attention_gradient {
  tensor_t<B> dq;   ///< `[Q, d]`
  tensor_t<B> dkv;  ///< `[R, 2d]`
};

/// Pullback of `attention`. The probabilities are recomputed: they are small products of what is kept anyway.
///
///     dA_ts = <do_t, v_s>,   dS_ts = A_ts (dA_ts - sum_r A_tr dA_tr)
///     dq_t = sum_s dS_ts k_s / sqrt(w),   dk_s = sum_t dS_ts q_t / sqrt(w),   dv_s = sum_t A_ts do_t
///
/// Adds the part of dk, dv that falls on the prefix to `d_prefix_kv` `[P, 2d]`, sequence by sequence in order.
struct attention_pullback_t {
  template <Backend B>
  attention_gradient<B> operator()(B& ctx, const attention_layout& layout, const tensor_t<B>& q, const tensor_t<B>& kv,
                                   const tensor_t<B>& prefix_kv, const tensor_t<B>& d_out,
                                   tensor_t<B>& d_prefix_kv) const {
    if constexpr (overrides<B, attention_pullback_t>)
      return ctx.fused(*this, layout, q, kv, prefix_kv, d_out, d_prefix_kv);
    else
      return generic(ctx, layout, q, kv, prefix_kv, d_out, d_prefix_kv);
  }
  template <Backend B>
  static attention_gradient<B> generic(B& ctx, const attention_layout& layout, const tensor_t<B>& q,
                                       const tensor_t<B>& kv, const tensor_t<B>& prefix_kv, const tensor_t<B>& d_out,
                                       tensor_t<B>& d_prefix_kv) {
    const index_type d = ctx.cols(q), width = d / layout.heads, prefix = ctx.rows(prefix_kv);
    const element::scale per_root_width{1.0 / std::sqrt(static_cast<double>(width))};
    attention_gradient<B> out{ctx.zeros(ctx.rows(q), d), ctx.zeros(ctx.rows(kv), 2 * d)};
    detail::for_each_attention_head(ctx, layout, q, kv, prefix_kv, [&](const auto& head) {
      const auto& a = head.probability;
      const auto d_o = ctx.block(d_out, head.query_row, head.column, ctx.rows(a), width);
      const auto d_a = ctx.matmul_nt(d_o, head.value);
      const auto mean = ctx.reduce_rows(reduction::sum{}, ctx.map(element::multiply{}, a, d_a));
      const auto d_s =
          ctx.map(per_root_width, ctx.map(element::multiply{}, a, ctx.map_rows(element::subtract{}, d_a, mean)));
      ctx.paste(out.dq, ctx.matmul(d_s, head.key), head.query_row, head.column);
      const auto scatter = [&](const tensor_t<B>& gradient, index_type column) {
        if (prefix > 0) detail::add_block(ctx, d_prefix_kv, ctx.block(gradient, 0, 0, prefix, width), 0, column);
        ctx.paste(out.dkv, ctx.block(gradient, prefix, 0, head.rows, width), head.first_row, column);
      };
      scatter(ctx.matmul_tn(d_s, head.query), head.column);
      scatter(ctx.matmul_tn(a, d_o), d + head.column);
    });
    return out;
  }
};
inline constexpr attention_pullback_t attention_pullback{};

}  // namespace negood
