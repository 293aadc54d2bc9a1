/// \file overrides.hpp  The fused algorithms of a backend that can run a kernel over an index space.
///
/// Such a backend offers, beside what every backend has:
///
///     t.data()                                  pointer to the row-major values
///     ctx.uninitialised(rows, cols)             a tensor whose values are written next
///     ctx.for_each_index(n, work, kernel)       kernel(i) for i in [0, n), `work` operations each
///     ctx.indices(vector)                       holds indices where kernels can read them, with .data()
///     ctx.for_each_row(n, width, kernel)        kernel(team, r); only a backend with teams of lanes has it (team.hpp)
///     ctx.attention_ranges()                    a `range_cache`; only a backend for which uploads are dear has it
///
/// declares `using overrides = kernel::overrides_by_kernels` and calls `kernel::run(*this, algorithm, arguments...)` in
/// `fused`. xtensor and Thrust do; a backend with one of its own puts it into a list of its own.
#pragma once

#include <negood/backend/kernels/attention.hpp>
#include <negood/backend/kernels/optimizer.hpp>
#include <negood/math/activation.hpp>
#include <negood/math/attention.hpp>
#include <negood/math/layer_norm.hpp>
#include <negood/math/linear.hpp>
#include <negood/math/linear_activation.hpp>
#include <negood/math/linear_residual.hpp>
#include <negood/math/logsumexp.hpp>
#include <negood/score/logit_statistics.hpp>
#include <negood/train/optimizer.hpp>

#include <algorithm>
#include <cmath>
#include <memory>
#include <utility>
#include <vector>

namespace negood::kernel {

using overrides_by_kernels = override_list<logsumexp_rows_t, softmax_rows_t, layer_norm_t, layer_norm_pullback_t,
                                           linear_t, linear_activation_t, linear_residual_t, activation_pullback_t,
                                           attention_t, attention_pullback_t, logit_statistics_t, optimizer_step_t>;

/// About the cost of an exponential, in multiplications.
inline constexpr index_type exponential_work = 16;

template <class B>
typename B::tensor run(B& ctx, logsumexp_rows_t, const typename B::tensor& z) {
  using T = typename B::real;
  const index_type n = ctx.rows(z), c = ctx.cols(z);
  if (c == 0) return logsumexp_rows_t::generic(ctx, z);
  auto out = ctx.uninitialised(n, 1);
  for_each_row(ctx, n, c, exponential_work * c, logsumexp_row<T>{z.data(), c, out.data()});
  return out;
}

template <class B>
typename B::tensor run(B& ctx, softmax_rows_t, const typename B::tensor& z) {
  using T = typename B::real;
  const index_type n = ctx.rows(z), c = ctx.cols(z);
  auto out = ctx.uninitialised(n, c);
  if (c > 0) for_each_row(ctx, n, c, exponential_work * c, softmax_row<T>{z.data(), c, out.data()});
  return out;
}

template <class B>
typename B::tensor run(B& ctx, layer_norm_t, const layer_norm_weights<B>& w, const typename B::tensor& x) {
  using T = typename B::real;
  const index_type n = ctx.rows(x), d = ctx.cols(x);
  require_shape(ctx.cols(w.gain) == d && ctx.cols(w.bias) == d, "layer_norm", "x", n, d, "gain", ctx.rows(w.gain),
                ctx.cols(w.gain), "widths must match");
  auto out = ctx.uninitialised(n, d);
  for_each_row(
      ctx, n, d, 4 * d,
      layer_norm_row<T>{x.data(), w.gain.data(), w.bias.data(), d, static_cast<T>(layer_norm_epsilon), out.data()});
  return out;
}

template <class B>
typename B::tensor run(B& ctx, layer_norm_pullback_t, const layer_norm_weights<B>& w, const typename B::tensor& x,
                       const typename B::tensor& dy) {
  using T = typename B::real;
  const index_type n = ctx.rows(x), d = ctx.cols(x);
  require_shape(ctx.rows(dy) == n && ctx.cols(dy) == d && ctx.cols(w.gain) == d, "layer_norm_pullback", "x", n, d, "dy",
                ctx.rows(dy), ctx.cols(dy), "shapes must be equal");
  auto out = ctx.uninitialised(n, d);
  for_each_row(ctx, n, d, 8 * d,
               layer_norm_pullback_row<T>{x.data(), w.gain.data(), dy.data(), d, static_cast<T>(layer_norm_epsilon),
                                          out.data()});
  return out;
}

template <class B>
typename B::tensor run(B& ctx, linear_t, const linear_weights<B>& w, const typename B::tensor& x) {
  using T = typename B::real;
  require_shape(ctx.cols(w.bias) == ctx.cols(w.weight) && ctx.rows(w.bias) == 1, "linear", "bias", ctx.rows(w.bias),
                ctx.cols(w.bias), "weight", ctx.rows(w.weight), ctx.cols(w.weight), "bias must be [1, out]");
  auto out = ctx.matmul(x, w.weight);
  for_each_row(ctx, ctx.rows(out), ctx.cols(out), ctx.cols(out),
               add_bias_row<T>{w.bias.data(), ctx.cols(out), out.data()});
  return out;
}

/// The bias and the residual in one pass over the product.
template <class B>
typename B::tensor run(B& ctx, linear_residual_t, const linear_weights<B>& w, const typename B::tensor& a,
                       const typename B::tensor& x) {
  using T = typename B::real;
  const index_type n = ctx.rows(a), d = ctx.cols(w.weight);
  require_shape(ctx.cols(w.bias) == d && ctx.rows(w.bias) == 1, "linear_residual", "bias", ctx.rows(w.bias),
                ctx.cols(w.bias), "weight", ctx.rows(w.weight), d, "bias must be [1, out]");
  require_shape(ctx.rows(x) == n && ctx.cols(x) == d, "linear_residual", "x", ctx.rows(x), ctx.cols(x), "a W", n, d,
                "shapes must be equal");
  auto out = ctx.matmul(a, w.weight);
  for_each_row(ctx, n, d, d, add_bias_and_residual_row<T>{w.bias.data(), x.data(), d, out.data()});
  return out;
}

/// The bias and the activation in one pass over the product.
template <class B>
linear_activation_value<B> run(B& ctx, linear_activation_t, const linear_weights<B>& w, activation_kind kind,
                               const typename B::tensor& x) {
  using T = typename B::real;
  require_shape(ctx.cols(w.bias) == ctx.cols(w.weight) && ctx.rows(w.bias) == 1, "linear_activation", "bias",
                ctx.rows(w.bias), ctx.cols(w.bias), "weight", ctx.rows(w.weight), ctx.cols(w.weight),
                "bias must be [1, out]");
  auto f = ctx.matmul(x, w.weight);
  const index_type n = ctx.rows(f), h = ctx.cols(f);
  auto g = ctx.uninitialised(n, h);
  if (kind == activation_kind::gelu)
    for_each_row(ctx, n, h, exponential_work * h,
                 add_bias_and_activate_row<T, element::gelu>{{}, w.bias.data(), h, f.data(), g.data()});
  else
    for_each_row(ctx, n, h, exponential_work * h,
                 add_bias_and_activate_row<T, element::quick_gelu>{{}, w.bias.data(), h, f.data(), g.data()});
  return {std::move(f), std::move(g)};
}

template <class B>
typename B::tensor run(B& ctx, activation_pullback_t, activation_kind kind, const typename B::tensor& f,
                       const typename B::tensor& dg) {
  using T = typename B::real;
  require_shape(ctx.rows(f) == ctx.rows(dg) && ctx.cols(f) == ctx.cols(dg), "activation_pullback", "f", ctx.rows(f),
                ctx.cols(f), "dg", ctx.rows(dg), ctx.cols(dg), "shapes must be equal");
  auto out = ctx.uninitialised(ctx.rows(f), ctx.cols(f));
  const index_type size = ctx.rows(f) * ctx.cols(f);
  if (kind == activation_kind::gelu)
    ctx.for_each_index(size, exponential_work,
                       times_derivative<T, element::gelu_derivative>{{}, f.data(), dg.data(), out.data()});
  else
    ctx.for_each_index(size, exponential_work,
                       times_derivative<T, element::quick_gelu_derivative>{{}, f.data(), dg.data(), out.data()});
  return out;
}

/// The ranges of a layout, from the context's `range_cache` where it has one (`ctx.attention_ranges()`).
template <class B>
auto ranges_of(B& ctx, const attention_layout& layout) {
  const auto upload = [&ctx](std::vector<index_type> v) { return ctx.indices(std::move(v)); };
  if constexpr (requires { ctx.attention_ranges(); }) {
    return ctx.attention_ranges().get(layout, upload);
  } else {
    using ranges = visible_ranges<decltype(ctx.indices(std::vector<index_type>{}))>;
    return std::make_shared<const ranges>(ranges::of(layout, upload));
  }
}

/// Operands of attention, with the ranges of `visibility`.
template <class B>
struct attention_call {
  using T = typename B::real;
  decltype(ranges_of(std::declval<B&>(), std::declval<const attention_layout&>())) ranges;
  attention_operands<T> in;

  attention_call(B& ctx, const attention_layout& layout, const typename B::tensor& q, const typename B::tensor& kv,
                 const typename B::tensor& prefix)
      : ranges(ranges_of(ctx, layout)) {
    const index_type queries = ranges->queries, d = ctx.cols(q);
    require_shape(ctx.rows(q) == queries && ctx.rows(kv) == layout.sequences.rows() && ctx.cols(kv) == 2 * d,
                  "attention", "q", ctx.rows(q), d, "kv", ctx.rows(kv), ctx.cols(kv),
                  "kv is [rows, 2 d], q has a row for each that asks");
    require_shape(ctx.rows(prefix) == 0 || ctx.cols(prefix) == 2 * d, "attention", "prefix_kv", ctx.rows(prefix),
                  ctx.cols(prefix), "kv", ctx.rows(kv), ctx.cols(kv), "widths must match");
    if (layout.heads < 1 || d % layout.heads != 0)
      fail(error_category::data, "negood.backend.4", "attention",
           std::to_string(layout.heads) + " heads do not divide a width of " + std::to_string(d));
    const index_type width = d / layout.heads;
    in = {q.data(),
          kv.data(),
          prefix.data(),
          queries,
          ctx.rows(prefix),
          d,
          layout.heads,
          width,
          static_cast<T>(1.0 / std::sqrt(static_cast<double>(width))),
          ranges->first_key.data(),
          ranges->end_key.data()};
  }
  /// Multiplications of one query and head, about.
  index_type work() const {
    const index_type keys = in.queries == 0 ? 0 : ranges->rows / in.queries;
    return (in.prefix_rows + keys) * (2 * in.width + exponential_work);
  }
};

template <class B>
typename B::tensor run(B& ctx, attention_t, const attention_layout& layout, const typename B::tensor& q,
                       const typename B::tensor& kv, const typename B::tensor& prefix_kv) {
  using T = typename B::real;
  const attention_call<B> call(ctx, layout, q, kv, prefix_kv);
  auto out = ctx.uninitialised(ctx.rows(q), ctx.cols(q));
  for_each_row(ctx, call.in.queries * layout.heads, call.in.width, call.work(),
               attention_query<T>{call.in, out.data()});
  return out;
}

template <class B>
attention_gradient<B> run(B& ctx, attention_pullback_t, const attention_layout& layout, const typename B::tensor& q,
                          const typename B::tensor& kv, const typename B::tensor& prefix_kv,
                          const typename B::tensor& d_out, typename B::tensor& d_prefix_kv) {
  using T = typename B::real;
  attention_call<B> call(ctx, layout, q, kv, prefix_kv);
  const auto& in = call.in;
  require_shape(ctx.rows(d_out) == in.queries && ctx.cols(d_out) == in.d, "attention_pullback", "q", in.queries, in.d,
                "d_out", ctx.rows(d_out), ctx.cols(d_out), "shapes must be equal");
  require_shape(ctx.rows(d_prefix_kv) == in.prefix_rows && (in.prefix_rows == 0 || ctx.cols(d_prefix_kv) == 2 * in.d),
                "attention_pullback", "prefix_kv", in.prefix_rows, 2 * in.d, "d_prefix_kv", ctx.rows(d_prefix_kv),
                ctx.cols(d_prefix_kv), "shapes must be equal");
  attention_gradient<B> out{ctx.uninitialised(in.queries, in.d), ctx.zeros(ctx.rows(kv), 2 * in.d)};
  auto statistics = ctx.uninitialised(in.queries * in.heads, 3);
  for_each_row(ctx, in.queries * in.heads, in.width, 4 * call.work(),
               attention_pull_query<T>{in, d_out.data(), out.dq.data(), statistics.data()});
  const attention_key_gradient<T> gradient{in, d_out.data(), statistics.data()};
  for_each_row(
      ctx, ctx.rows(kv) * in.heads, in.width, 4 * call.work(),
      attention_pull_key<T>{gradient, call.ranges->first_query.data(), call.ranges->end_query.data(), out.dkv.data()});
  if (in.prefix_rows > 0 && in.queries > 0) {
    constexpr index_type unit = attention_pull_prefix<T>::queries_per_block;
    const index_type blocks = (in.queries + unit - 1) / unit;
    auto partial = ctx.zeros(blocks * in.prefix_rows, 2 * in.d);
    for_each_row(ctx, blocks * in.prefix_rows * in.heads, in.width, unit * 4 * (in.width + exponential_work),
                 attention_pull_prefix<T>{gradient, partial.data()});
    ctx.for_each_index(in.prefix_rows * 2 * in.d, blocks,
                       add_blocks<T>{partial.data(), blocks, in.prefix_rows * 2 * in.d, d_prefix_kv.data()});
  }
  return out;
}

/// Weights and moments in one pass, in place.
template <class B>
void run(B& ctx, optimizer_step_t, const optimizer_options& o, double rate, typename B::tensor& w,
         const typename B::tensor& g, optimizer_state<B>& s) {
  using T = typename B::real;
  const index_type n = ctx.rows(w), c = ctx.cols(w);
  require_shape(ctx.rows(g) == n && ctx.cols(g) == c, "optimizer_step", "w", n, c, "g", ctx.rows(g), ctx.cols(g),
                "shapes must be equal");
  s.step += 1;
  if (n * c == 0) return;
  const auto t = static_cast<double>(s.step);
  if (o.kind == optimizer_kind::sgd)
    ctx.for_each_index(n * c, 4,
                       sgd_step<T>{static_cast<T>(rate), static_cast<T>(o.momentum), static_cast<T>(o.weight_decay),
                                   g.data(), w.data(), s.first.data()});
  else
    ctx.for_each_index(
        n * c, exponential_work,
        adamw_step<T>{static_cast<T>(rate), static_cast<T>(1 - rate * o.weight_decay), static_cast<T>(o.beta1),
                      static_cast<T>(1 - o.beta1), static_cast<T>(o.beta2), static_cast<T>(1 - o.beta2),
                      static_cast<T>(1 / (1 - std::pow(o.beta1, t))), static_cast<T>(1 / (1 - std::pow(o.beta2, t))),
                      static_cast<T>(o.epsilon), g.data(), w.data(), s.first.data(), s.second.data()});
}

/// Logits of some images at a time: memory does not grow with the number of images.
template <class B>
logit_statistics_of<B> run(B& ctx, logit_statistics_t, const typename B::tensor& images,
                           const typename B::frozen& texts, double scale) {
  using T = typename B::real;
  const index_type n = ctx.rows(images), m = ctx.rows(texts);
  if (m == 0) return logit_statistics_t::generic(ctx, images, texts, scale);
  const index_type block = std::clamp<index_type>((index_type{1} << 22) / m / 64 * 64, 64, 4096);
  auto maximum = ctx.uninitialised(n, 1), logsumexp = ctx.uninitialised(n, 1);
  for (index_type first = 0; first < n; first += block) {
    const index_type count = std::min(block, n - first);
    const auto z = count == n ? ctx.matmul_nt(images, texts)
                              : ctx.matmul_nt(ctx.block(images, first, 0, count, ctx.cols(images)), texts);
    for_each_row(
        ctx, count, m, exponential_work * m,
        logit_statistics_row<T>{z.data(), m, static_cast<T>(scale), maximum.data() + first, logsumexp.data() + first});
  }
  return {std::move(maximum), std::move(logsumexp)};
}

}  // namespace negood::kernel
