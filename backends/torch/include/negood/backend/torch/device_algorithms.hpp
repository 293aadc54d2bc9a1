/// \file device_algorithms.hpp  The fused algorithms as ATen operations, for devices.
#pragma once

#include <negood/backend/kernels/overrides.hpp>
#include <negood/backend/torch/elements.hpp>
#include <negood/backend/torch/tensor.hpp>

#include <ATen/ATen.h>

#include <map>
#include <tuple>
#include <vector>

namespace negood::libtorch {

template <class B>
typename B::tensor run_on_device(B&, logsumexp_rows_t, const typename B::tensor& z) {
  return B::tensor::adopt(at::logsumexp(z.torch(), {1}, true));
}
template <class B>
typename B::tensor run_on_device(B&, softmax_rows_t, const typename B::tensor& z) {
  return B::tensor::adopt(at::softmax(z.torch(), 1));
}
template <class B>
typename B::tensor run_on_device(B&, layer_norm_t, const layer_norm_weights<B>& w, const typename B::tensor& x) {
  const index_type d = x.cols();
  require_shape(w.gain.cols() == d && w.bias.cols() == d, "layer_norm", "x", x.rows(), d, "gain", w.gain.rows(),
                w.gain.cols(), "widths must match");
  return B::tensor::adopt(
      at::layer_norm(x.torch(), {d}, w.gain.torch().reshape({d}), w.bias.torch().reshape({d}), layer_norm_epsilon));
}
template <class B>
typename B::tensor run_on_device(B&, layer_norm_pullback_t, const layer_norm_weights<B>& w, const typename B::tensor& x,
                                 const typename B::tensor& dy) {
  const index_type d = x.cols();
  require_shape(dy.rows() == x.rows() && dy.cols() == d && w.gain.cols() == d, "layer_norm_pullback", "x", x.rows(), d,
                "dy", dy.rows(), dy.cols(), "shapes must be equal");
  const at::Tensor gain = w.gain.torch().reshape({d}), bias = w.bias.torch().reshape({d});
  const auto forward = at::native_layer_norm(x.torch(), {d}, gain, bias, layer_norm_epsilon);
  return B::tensor::adopt(std::get<0>(at::native_layer_norm_backward(
      dy.torch(), x.torch(), {d}, std::get<1>(forward), std::get<2>(forward), gain, bias, {true, false, false})));
}
template <class B>
typename B::tensor run_on_device(B& ctx, linear_t, const linear_weights<B>& w, const typename B::tensor& x) {
  return linear_t::generic(ctx, w, x);
}
template <class B>
typename B::tensor run_on_device(B& ctx, activation_pullback_t, activation_kind kind, const typename B::tensor& f,
                                 const typename B::tensor& dg) {
  return activation_pullback_t::generic(ctx, kind, f, dg);
}
template <class B>
logit_statistics_of<B> run_on_device(B& ctx, logit_statistics_t, const typename B::tensor& images,
                                     const typename B::frozen& texts, double scale) {
  return logit_statistics_t::generic(ctx, images, texts, scale);
}

namespace detail {

/// The sequences of one length, their heads side by side: batched products over [sequences, heads].
struct attention_group {
  index_type count, length, queries, heads, width;
  at::Tensor query_rows, key_rows;  ///< which rows of q and of kv, sequence by sequence
  at::Tensor mask;                  ///< `[queries, prefix + length]`, 0 or -inf
};

inline std::vector<attention_group> attention_groups(const attention_layout& layout, index_type d, index_type prefix,
                                                     const at::TensorOptions& options) {
  std::map<index_type, std::vector<index_type>> of_length;
  for (index_type s = 0; s < layout.sequences.sequences(); ++s) of_length[layout.sequences.length(s)].push_back(s);
  std::vector<attention_group> out;
  const bool all = layout.queries == query_rows::all;
  for (const auto& [length, sequences] : of_length) {
    std::vector<index_type> q, kv;
    for (const index_type s : sequences) {
      for (index_type r = 0; r < length; ++r) kv.push_back(layout.sequences.first(s) + r);
      if (all)
        for (index_type r = 0; r < length; ++r) q.push_back(layout.sequences.first(s) + r);
      else
        q.push_back(s);
    }
    attention_group g{static_cast<index_type>(sequences.size()),
                      length,
                      all ? length : 1,
                      layout.heads,
                      d / layout.heads,
                      {},
                      {},
                      {}};
    g.query_rows = index_tensor(q, options.device());
    g.key_rows = index_tensor(kv, options.device());
    at::Tensor mask = at::zeros({g.queries, prefix + length}, options);
    if (layout.causal && length > 0) {
      const index_type first = layout.queries == query_rows::last ? length - 1 : 0;
      const at::Tensor hidden = at::triu(at::ones({g.queries, length}, options), first + 1);
      mask.narrow(1, prefix, length).masked_fill_(hidden.to(at::kBool), -INFINITY);
    }
    g.mask = mask;
    out.push_back(std::move(g));
  }
  return out;
}

/// One group's operands `[S, H, rows, w]` and probabilities `[S, H, T, P + L]`.
struct attention_group_values {
  at::Tensor query, key, value, prefix_key, prefix_value, probability;
};

inline at::Tensor heads_of(const at::Tensor& rows, index_type sequences, index_type heads, index_type width) {
  return rows.reshape({sequences, -1, heads, width}).transpose(1, 2).contiguous();
}
inline at::Tensor rows_of(const at::Tensor& t) {
  return t.transpose(1, 2).reshape({t.size(0) * t.size(2), t.size(1) * t.size(3)});
}
/// `[S, H, T, w]` -> `[H, S T, w]` and back: all sequences meet the one prefix in one product.
inline at::Tensor by_head(const at::Tensor& t) {
  return t.transpose(0, 1).reshape({t.size(1), t.size(0) * t.size(2), t.size(3)});
}
inline at::Tensor by_sequence(const at::Tensor& t, index_type sequences) {
  return t.reshape({t.size(0), sequences, -1, t.size(2)}).transpose(0, 1);
}

inline attention_group_values attention_values(const attention_group& g, index_type d, const at::Tensor& q,
                                               const at::Tensor& kv, const at::Tensor& prefix) {
  attention_group_values v;
  const at::Tensor own = kv.index_select(0, g.key_rows);
  v.query = heads_of(q.index_select(0, g.query_rows), g.count, g.heads, g.width);
  v.key = heads_of(own.narrow(1, 0, d), g.count, g.heads, g.width);
  v.value = heads_of(own.narrow(1, d, d), g.count, g.heads, g.width);
  at::Tensor score = at::matmul(v.query, v.key.transpose(2, 3));
  if (prefix.size(0) > 0) {
    v.prefix_key = heads_of(prefix.narrow(1, 0, d), 1, g.heads, g.width)[0];
    v.prefix_value = heads_of(prefix.narrow(1, d, d), 1, g.heads, g.width)[0];
    const at::Tensor far = at::bmm(by_head(v.query), v.prefix_key.transpose(1, 2));
    score = at::cat({by_sequence(far, g.count), score}, 3);
  }
  const double per_root_width = 1.0 / std::sqrt(static_cast<double>(g.width));
  v.probability = at::softmax(at::add(at::mul(score, per_root_width), g.mask), 3);
  return v;
}

}  // namespace detail

template <class B>
typename B::tensor run_on_device(B& ctx, attention_t, const attention_layout& layout, const typename B::tensor& q,
                                 const typename B::tensor& kv, const typename B::tensor& prefix_kv) {
  const index_type d = q.cols(), prefix = prefix_kv.rows();
  auto out = ctx.zeros(q.rows(), d);
  for (const auto& g : detail::attention_groups(layout, d, prefix, q.torch().options())) {
    const auto v = detail::attention_values(g, d, q.torch(), kv.torch(), prefix_kv.torch());
    at::Tensor o = at::matmul(v.probability.narrow(3, prefix, g.length), v.value);
    if (prefix > 0)
      o = o +
          detail::by_sequence(at::bmm(detail::by_head(v.probability.narrow(3, 0, prefix)), v.prefix_value), g.count);
    at::Tensor(out.torch()).index_copy_(0, g.query_rows, detail::rows_of(o));
  }
  return out;
}

template <class B>
attention_gradient<B> run_on_device(B& ctx, attention_pullback_t, const attention_layout& layout,
                                    const typename B::tensor& q, const typename B::tensor& kv,
                                    const typename B::tensor& prefix_kv, const typename B::tensor& d_out,
                                    typename B::tensor& d_prefix_kv) {
  const index_type d = q.cols(), prefix = prefix_kv.rows();
  attention_gradient<B> out{ctx.zeros(q.rows(), d), ctx.zeros(kv.rows(), 2 * d)};
  for (const auto& g : detail::attention_groups(layout, d, prefix, q.torch().options())) {
    const auto v = detail::attention_values(g, d, q.torch(), kv.torch(), prefix_kv.torch());
    const at::Tensor d_o = detail::heads_of(d_out.torch().index_select(0, g.query_rows), g.count, g.heads, g.width);
    at::Tensor d_a = at::matmul(d_o, v.value.transpose(2, 3));
    if (prefix > 0)
      d_a = at::cat({detail::by_sequence(at::bmm(detail::by_head(d_o), v.prefix_value.transpose(1, 2)), g.count), d_a},
                    3);
    const double per_root_width = 1.0 / std::sqrt(static_cast<double>(g.width));
    const at::Tensor mean = at::sum(at::mul(v.probability, d_a), {3}, true);
    const at::Tensor d_s = at::mul(at::mul(v.probability, at::sub(d_a, mean)), per_root_width);
    const at::Tensor near = d_s.narrow(3, prefix, g.length), near_a = v.probability.narrow(3, prefix, g.length);
    at::Tensor dq = at::matmul(near, v.key);
    if (prefix > 0) {
      const at::Tensor far = detail::by_head(d_s.narrow(3, 0, prefix));
      const at::Tensor far_a = detail::by_head(v.probability.narrow(3, 0, prefix));
      dq = dq + detail::by_sequence(at::bmm(far, v.prefix_key), g.count);
      const auto onto = [&](const at::Tensor& weights, const at::Tensor& from, index_type column) {
        const at::Tensor sum = at::bmm(weights.transpose(1, 2), detail::by_head(from));  // [H, P, w]
        d_prefix_kv.torch().narrow(1, column, d).add_(sum.transpose(0, 1).reshape({prefix, d}));
      };
      onto(far, v.query, 0);
      onto(far_a, d_o, d);
    }
    at::Tensor(out.dq.torch()).index_copy_(0, g.query_rows, detail::rows_of(dq));
    const at::Tensor dk = detail::rows_of(at::matmul(near.transpose(2, 3), v.query));
    const at::Tensor dv = detail::rows_of(at::matmul(near_a.transpose(2, 3), d_o));
    at::Tensor(out.dkv.torch()).index_copy_(0, g.key_rows, at::cat({dk, dv}, 1));
  }
  return out;
}

}  // namespace negood::libtorch
