/// \file fused_rows.hpp  Softmax, layer norm and activations in one pass over each row.
#pragma once

#include <negood/backend/eigen/frozen.hpp>
#include <negood/backend/eigen/vector_math.hpp>
#include <negood/math/activation.hpp>
#include <negood/math/layer_norm.hpp>
#include <negood/math/linear.hpp>
#include <negood/math/logsumexp.hpp>

#include <cmath>
#include <limits>

namespace negood::eigen {

template <class Real>
class context;

namespace detail {

/// A row, and what its last vector is filled up with.
template <class T>
struct filled {
  const T* data;
  T fill;
};

/// Sum over [0, n) of f(a_i, b_i, ...), in four interleaved chains. f must give 0 for the fills.
template <class T, class F, class... In>
NEGOOD_INLINE T sum_over(index_type n, F f, In... in) {
  using simd::lanes;
  using simd::vec;
  vec<T> s0{}, s1{}, s2{}, s3{};
  index_type i = 0;
  for (; i + 4 * lanes<T> <= n; i += 4 * lanes<T>) {
    s0 += f(simd::load<T>(in.data + i)...);
    s1 += f(simd::load<T>(in.data + i + lanes<T>)...);
    s2 += f(simd::load<T>(in.data + i + 2 * lanes<T>)...);
    s3 += f(simd::load<T>(in.data + i + 3 * lanes<T>)...);
  }
  for (; i + lanes<T> <= n; i += lanes<T>) s0 += f(simd::load<T>(in.data + i)...);
  if (i < n) s1 += f(simd::load_part<T>(in.data + i, n - i, in.fill)...);
  return simd::sum_lanes<T>((s0 + s1) + (s2 + s3));
}

/// out = exp(z - max z); returns max and sum. `out` may be z, or null.
template <class T>
struct exponentials {
  T maximum, sum;
};
template <class T>
NEGOOD_INLINE exponentials<T> exponentiate(index_type n, const T* z, T* out) {
  using simd::vec;
  constexpr T lowest = -std::numeric_limits<T>::infinity();
  vec<T> top = simd::splat<T>(lowest);
  simd::visit<T>(
      n, lowest, [&](vec<T> x) { top = simd::max<T>(top, x); }, z);
  const T m = simd::max_lanes<T>(top);
  vec<T> total{};
  index_type i = 0;
  for (; i + simd::lanes<T> <= n; i += simd::lanes<T>) {
    const vec<T> e = simd::exp(simd::load<T>(z + i) - m);
    if (out) simd::store<T>(out + i, e);
    total += e;
  }
  if (i < n) {
    const vec<T> e = simd::exp(simd::load_part<T>(z + i, n - i, lowest) - m);
    if (out) simd::store_part<T>(out + i, e, n - i);
    total += e;
  }
  return {m, simd::sum_lanes<T>(total)};
}

/// Mean and 1 / sqrt(variance + eps) of a row.
template <class T>
struct moments {
  T mean, per_sigma;
};
template <class T>
NEGOOD_INLINE moments<T> row_moments(index_type n, const T* x) {
  const T per_n = T(1) / static_cast<T>(n);
  const T mean = sum_over<T>(
                     n, [](simd::vec<T> v) { return v; }, filled<T>{x, T(0)}) *
                 per_n;
  const T variance = sum_over<T>(
                         n, [&](simd::vec<T> v) { return (v - mean) * (v - mean); }, filled<T>{x, mean}) *
                     per_n;
  return {mean, T(1) / std::sqrt(variance + static_cast<T>(layer_norm_epsilon))};
}

}  // namespace detail

template <class Real>
tensor<Real> run_fused(context<Real>& ctx, logsumexp_rows_t, const tensor<Real>& z) {
  tensor<Real> out(z.rows(), 1);
  ctx.each_row(z.rows(), 4 * z.cols(), [&](index_type r) {
    const auto e = detail::exponentiate<Real>(z.cols(), z.row(r), static_cast<Real*>(nullptr));
    out.data()[r] = e.maximum + std::log(e.sum);
  });
  return out;
}

template <class Real>
tensor<Real> run_fused(context<Real>& ctx, softmax_rows_t, const tensor<Real>& z) {
  tensor<Real> out(z.rows(), z.cols());
  ctx.each_row(z.rows(), 4 * z.cols(), [&](index_type r) {
    const Real per_sum = Real(1) / detail::exponentiate<Real>(z.cols(), z.row(r), out.row(r)).sum;
    simd::transform<Real>(
        z.cols(), out.row(r), [&](simd::vec<Real> e) { return e * per_sum; }, static_cast<const Real*>(out.row(r)));
  });
  return out;
}

template <class Real>
tensor<Real> run_fused(context<Real>& ctx, layer_norm_t, const layer_norm_weights<context<Real>>& w,
                       const tensor<Real>& x) {
  const index_type d = x.cols();
  require_shape(w.gain.cols() == d && w.bias.cols() == d, "layer_norm", "x", x.rows(), d, "gain", w.gain.rows(),
                w.gain.cols(), "widths must match");
  tensor<Real> out(x.rows(), d);
  ctx.each_row(x.rows(), 2 * d, [&](index_type r) {
    const auto m = detail::row_moments<Real>(d, x.row(r));
    using simd::vec;
    simd::transform<Real>(
        d, out.row(r),
        [&](vec<Real> v, vec<Real> gain, vec<Real> bias) { return (v - m.mean) * m.per_sigma * gain + bias; }, x.row(r),
        w.gain.data(), w.bias.data());
  });
  return out;
}

template <class Real>
tensor<Real> run_fused(context<Real>& ctx, layer_norm_pullback_t, const layer_norm_weights<context<Real>>& w,
                       const tensor<Real>& x, const tensor<Real>& dy) {
  const index_type d = x.cols();
  require_shape(dy.rows() == x.rows() && dy.cols() == d && w.gain.cols() == d, "layer_norm_pullback", "x", x.rows(), d,
                "dy", dy.rows(), dy.cols(), "shapes must be equal");
  tensor<Real> out(x.rows(), d);
  const Real per_d = Real(1) / static_cast<Real>(d);
  ctx.each_row(x.rows(), 3 * d, [&](index_type r) {
    using simd::vec;
    using detail::filled;
    const Real *xr = x.row(r), *dr = dy.row(r), *gain = w.gain.data();
    const auto m = detail::row_moments<Real>(d, xr);
    const Real mean_g =
        per_d * detail::sum_over<Real>(
                    d, [](vec<Real> g, vec<Real> a) { return g * a; }, filled<Real>{dr, 0}, filled<Real>{gain, 0});
    const Real mean_gx =
        per_d * detail::sum_over<Real>(
                    d, [&](vec<Real> g, vec<Real> a, vec<Real> v) { return (g * a) * ((v - m.mean) * m.per_sigma); },
                    filled<Real>{dr, 0}, filled<Real>{gain, 0}, filled<Real>{xr, 0});
    simd::transform<Real>(
        d, out.row(r),
        [&](vec<Real> g, vec<Real> a, vec<Real> v) {
          return ((g * a - mean_g) - ((v - m.mean) * m.per_sigma) * mean_gx) * m.per_sigma;
        },
        dr, gain, xr);
  });
  return out;
}

template <class Real>
tensor<Real> run_fused(context<Real>& ctx, linear_t, const linear_weights<context<Real>>& w, const tensor<Real>& x) {
  require_shape(x.cols() == w.weight.rows(), "linear", "x", x.rows(), x.cols(), "weight", w.weight.rows(),
                w.weight.cols(), "inner sizes must match");
  require_shape(w.bias.cols() == w.weight.cols() && w.bias.rows() == 1, "linear", "bias", w.bias.rows(), w.bias.cols(),
                "weight", w.weight.rows(), w.weight.cols(), "bias must be [1, out]");
  return ctx.frozen_product(x, w.weight, direction::normal, w.bias.data());
}

template <class Real>
tensor<Real> run_fused(context<Real>& ctx, activation_pullback_t, activation_kind kind, const tensor<Real>& f,
                       const tensor<Real>& dg) {
  require_shape(f.rows() == dg.rows() && f.cols() == dg.cols(), "activation_pullback", "f", f.rows(), f.cols(), "dg",
                dg.rows(), dg.cols(), "shapes must be equal");
  tensor<Real> out(f.rows(), f.cols());
  const auto run = [&](auto derivative) {
    using simd::vec;
    ctx.spans(f.size(), [&](index_type first, index_type count) {
      simd::transform<Real>(
          count, out.data() + first, [&](vec<Real> x, vec<Real> g) { return simd::apply<Real>(derivative, x) * g; },
          f.data() + first, dg.data() + first);
    });
  };
  if (kind == activation_kind::gelu)
    run(element::gelu_derivative{});
  else
    run(element::quick_gelu_derivative{});
  return out;
}

}  // namespace negood::eigen
