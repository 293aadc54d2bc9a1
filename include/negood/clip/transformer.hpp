/// \file transformer.hpp  One pre-norm transformer layer of CLIP, cut where attention joins the rows: value and
/// pullback.
///
///     a = LN1(x);  q = a Wq + bq;  [k|v] = a Wkv + bkv                        (enter)
///     x' = x + attention(q, k, v) Wo + bo;  y = x' + act(LN2(x') W1 + b1) W2 + b2   (leave)
///
/// The cut is what makes the cheap exact form possible: rows whose keys and values are known constants (the start
/// token, the first layer of every class name) skip `enter`; rows nobody asks (context tokens in the last layer) skip
/// `leave`.
#pragma once

#include <negood/math/activation.hpp>
#include <negood/math/attention.hpp>
#include <negood/math/layer_norm.hpp>
#include <negood/math/linear.hpp>
#include <negood/math/linear_activation.hpp>
#include <negood/math/linear_residual.hpp>

#include <optional>

namespace negood::clip {

/// The frozen weights of one layer of width d.
template <Backend B>
struct transformer_layer {
  layer_norm_weights<B> ln_1, ln_2;
  linear_weights<B> query;          ///< `[d, d]`
  linear_weights<B> key_value;      ///< `[d, 2d]`
  linear_weights<B> attention_out;  ///< `[d, d]`
  linear_weights<B> mlp_in;         ///< `[d, 4d]`
  linear_weights<B> mlp_out;        ///< `[4d, d]`
};

/// What attention needs of a layer's rows. `x` and `q` hold only the rows that ask.
template <Backend B>
struct layer_entry {
  tensor_t<B> x;   ///< `[R, d]` input rows
  tensor_t<B> q;   ///< `[Q, d]`, empty when no row asks
  tensor_t<B> kv;  ///< `[R, 2d]`
};

/// What the pullback of `leave` needs beyond the entry.
template <Backend B>
struct layer_middle {
  tensor_t<B> x;  ///< `[Q, d]` rows after attention
  tensor_t<B> f;  ///< `[Q, 4d]` before the activation
};

/// How a tower runs its layers.
struct layer_options {
  index_type heads;
  activation_kind activation;
  bool causal;
};

/// The rows of x that ask: all of them, or one a sequence.
template <Backend B>
std::optional<std::vector<index_type>> asking_rows(const attention_layout& layout) {
  if (layout.queries == query_rows::all) return std::nullopt;
  return layout.queries == query_rows::last ? layout.sequences.last_rows() : layout.sequences.first_rows();
}

/// x `[R, d]` -> queries, keys and values. Queries are made for the rows that ask only.
template <Backend B>
layer_entry<B> enter(B& ctx, const transformer_layer<B>& w, const attention_layout& layout, tensor_t<B> x) {
  const auto a = layer_norm(ctx, w.ln_1, x);
  auto kv = linear(ctx, w.key_value, a);
  const auto asking = asking_rows<B>(layout);
  auto q = asking ? linear(ctx, w.query, ctx.gather_rows(a, *asking)) : linear(ctx, w.query, a);
  return {std::move(x), std::move(q), std::move(kv)};
}

/// Keys and values only: the last layer of rows that only others look at.
template <Backend B>
layer_entry<B> enter_unasked(B& ctx, const transformer_layer<B>& w, tensor_t<B> x) {
  auto kv = linear(ctx, w.key_value, layer_norm(ctx, w.ln_1, x));
  return {std::move(x), ctx.zeros(0, 0), std::move(kv)};
}

/// What follows attention: rows x that asked and their answers o, both `[Q, d]` -> y `[Q, d]`; fills `keep` if given.
template <Backend B>
tensor_t<B> after_attention(B& ctx, const transformer_layer<B>& w, activation_kind act, const tensor_t<B>& asking,
                            const tensor_t<B>& o, layer_middle<B>* keep = nullptr) {
  auto x = linear_residual(ctx, w.attention_out, o, asking);
  auto hidden = linear_activation(ctx, w.mlp_in, act, layer_norm(ctx, w.ln_2, x));
  auto y = linear_residual(ctx, w.mlp_out, hidden.g, x);
  if (keep) *keep = {std::move(x), std::move(hidden.f)};
  return y;
}

/// Attention and the feed-forward block. Returns y `[Q, d]`; fills `keep` if given.
template <Backend B>
tensor_t<B> leave(B& ctx, const transformer_layer<B>& w, const attention_layout& layout, activation_kind act,
                  const layer_entry<B>& entry, const tensor_t<B>& prefix_kv, layer_middle<B>* keep = nullptr) {
  const auto o = attention(ctx, layout, entry.q, entry.kv, prefix_kv);
  const auto asking = asking_rows<B>(layout);
  if (asking) return after_attention(ctx, w, act, ctx.gather_rows(entry.x, *asking), o, keep);
  return after_attention(ctx, w, act, entry.x, o, keep);
}

/// Gradients at the cut: of queries, keys and values, and of x along the residual path.
template <Backend B>
struct entry_gradient {
  tensor_t<B> dx;   ///< `[Q, d]` residual path only, of the rows that ask
  tensor_t<B> dq;   ///< `[Q, d]`
  tensor_t<B> dkv;  ///< `[R, 2d]`
};

/// Pullback of `leave`; adds the prefix's part to `d_prefix_kv`.
template <Backend B>
entry_gradient<B> leave_pullback(B& ctx, const transformer_layer<B>& w, const attention_layout& layout,
                                 activation_kind act, const layer_entry<B>& entry, const tensor_t<B>& prefix_kv,
                                 const layer_middle<B>& middle, const tensor_t<B>& dy, tensor_t<B>& d_prefix_kv) {
  const auto df = activation_pullback(ctx, act, middle.f, ctx.matmul_nt(dy, w.mlp_out.weight));
  const auto dm = ctx.matmul_nt(df, w.mlp_in.weight);
  auto dx = ctx.map(element::add{}, dy, layer_norm_pullback(ctx, w.ln_2, middle.x, dm));
  const auto d_o = ctx.matmul_nt(dx, w.attention_out.weight);
  auto g = attention_pullback(ctx, layout, entry.q, entry.kv, prefix_kv, d_o, d_prefix_kv);
  return {std::move(dx), std::move(g.dq), std::move(g.dkv)};
}

/// Pullback of `enter`: dx `[R, d]`.
template <Backend B>
tensor_t<B> enter_pullback(B& ctx, const transformer_layer<B>& w, const attention_layout& layout,
                           const layer_entry<B>& entry, const entry_gradient<B>& g) {
  const auto asking = asking_rows<B>(layout);
  auto da = ctx.matmul_nt(g.dkv, w.key_value.weight);
  const auto da_q = ctx.matmul_nt(g.dq, w.query.weight);
  if (asking) {
    ctx.scatter_add_rows(da, *asking, da_q);
    auto dx = layer_norm_pullback(ctx, w.ln_1, entry.x, da);
    ctx.scatter_add_rows(dx, *asking, g.dx);
    return dx;
  }
  da = ctx.map(element::add{}, da, da_q);
  return ctx.map(element::add{}, g.dx, layer_norm_pullback(ctx, w.ln_1, entry.x, da));
}

/// Pullback of `enter_unasked`: dx `[R, d]`.
template <Backend B>
tensor_t<B> enter_unasked_pullback(B& ctx, const transformer_layer<B>& w, const layer_entry<B>& entry,
                                   const tensor_t<B>& dkv) {
  return layer_norm_pullback(ctx, w.ln_1, entry.x, ctx.matmul_nt(dkv, w.key_value.weight));
}

}  // namespace negood::clip
