/// \file vector_math.hpp  exp, log and the normal distribution on whole vectors, and the element functions built on
/// them.
///
/// In float by polynomial, within 2 ulp of the exact value (`normal_cdf`: 1e-7 relative to its larger tail); in double
/// each lane goes through the standard library.
#pragma once

#include <negood/backend/eigen/simd.hpp>
#include <negood/backend/element.hpp>

#include <cmath>
#include <limits>
#include <type_traits>

namespace negood::eigen::simd {

namespace detail {
/// c0 + c1 x + c2 x^2 + ..., by Horner's rule.
template <class V>
NEGOOD_INLINE V polynomial(V, double c) {
  using T = std::remove_cvref_t<decltype(V{}[0])>;
  return static_cast<T>(c) - V{};
}
template <class V, class... C>
NEGOOD_INLINE V polynomial(V x, double c0, C... rest) {
  using T = std::remove_cvref_t<decltype(V{}[0])>;
  return polynomial(x, rest...) * x + static_cast<T>(c0);
}
template <class F>
NEGOOD_INLINE vec<double> each(F f, vec<double> x) {
  for (index_type i = 0; i < lanes<double>; ++i) x[i] = f(x[i]);
  return x;
}
/// 2^n for whole n in [-126, 127].
NEGOOD_INLINE vec<float> power_of_two(mask<float> n) {
  const mask<float> bits = (n + 127) << 23;
  vec<float> out;
  std::memcpy(&out, &bits, sizeof(out));
  return out;
}
}  // namespace detail

/// e^x. x = n log 2 + r, |r| <= log(2)/2; the power of two goes on in two steps, so that subnormal results are right.
NEGOOD_INLINE vec<float> exp(vec<float> x) {
  const vec<float> clamped = x < -104.0f ? splat(-104.0f) : (x > 89.0f ? splat(89.0f) : x);
  const vec<float> magic = splat(12582912.0f);  // 1.5 * 2^23: adding it rounds to a whole number
  const vec<float> shifted = clamped * 1.44269504088896341f + magic;
  const vec<float> whole = shifted - magic;
  // A NaN compares false everywhere above and stays a NaN through r; its n is any number.
  const mask<float> n = __builtin_convertvector(whole == whole ? whole : vec<float>{}, mask<float>);
  const vec<float> r = (clamped - whole * 0.693359375f) + whole * 2.12194440e-4f;
  const vec<float> p =
      detail::polynomial(r, 0.5, 0.16666576266288757, 0.04166685417294502, 0.008363200351595879, 0.0013901309575885534);
  const vec<float> value = (p * (r * r) + r) + 1.0f;
  const mask<float> half = n >> 1;
  return (value * detail::power_of_two(half)) * detail::power_of_two(n - half);
}
NEGOOD_INLINE vec<double> exp(vec<double> x) {
  return detail::each([](double t) { return std::exp(t); }, x);
}

/// log x. x = 2^n m, m in [sqrt(1/2), sqrt(2)); log m = 2 atanh((m-1)/(m+1)).
NEGOOD_INLINE vec<float> log(vec<float> x) {
  const mask<float> tiny = x < std::numeric_limits<float>::min();
  const vec<float> scaled = tiny ? x * 8388608.0f : x;
  mask<float> bits;
  std::memcpy(&bits, &scaled, sizeof(bits));
  bits &= 0x7fffffff;                             // a negative number has no logarithm: said at the end
  const mask<float> rebased = bits - 0x3f3504f3;  // sqrt(1/2)
  const mask<float> n = (rebased >> 23) - (tiny ? mask<float>{} + 23 : mask<float>{});
  const mask<float> mantissa = (rebased & 0x007fffff) + 0x3f3504f3;
  vec<float> m;
  std::memcpy(&m, &mantissa, sizeof(m));
  const vec<float> f = m - 1.0f;
  const vec<float> s = f / (m + 1.0f);
  const vec<float> u = s * s;
  const vec<float> p = detail::polynomial(u, 0.33333343267440796, 0.1999415010213852, 0.14800690114498138);
  // log(1+f) = f - f^2/2 + s (f^2/2 + 2 u^2.../...): written so that the leading f is exact
  const vec<float> half_square = 0.5f * f * f;
  const vec<float> e = __builtin_convertvector(n, vec<float>);
  const vec<float> tail = s * (half_square + 2.0f * u * p) - half_square;
  vec<float> out = e * 0.693359375f + (f + (tail - e * 2.12194440e-4f));
  const float inf = std::numeric_limits<float>::infinity();
  out = x == inf ? splat(inf) : out;
  out = x == 0.0f ? splat(-inf) : out;
  return x >= 0.0f ? out : splat(std::numeric_limits<float>::quiet_NaN());
}
NEGOOD_INLINE vec<double> log(vec<double> x) {
  return detail::each([](double t) { return std::log(t); }, x);
}

/// log(1 + t) for t in [0, 1]: 2 atanh(t / (2 + t)).
NEGOOD_INLINE vec<float> log1p_unit(vec<float> t) {
  const vec<float> s = t / (2.0f + t);
  const vec<float> u = s * s;
  const vec<float> p = detail::polynomial(u, 0.3333333432674408, 0.19999849796295166, 0.14296318590641022,
                                          0.10851109027862549, 0.11622734367847443);
  const vec<float> twice = s + s;
  return twice + twice * u * p;
}
NEGOOD_INLINE vec<double> log1p_unit(vec<double> t) {
  return detail::each([](double x) { return std::log1p(x); }, t);
}

template <class T>
NEGOOD_INLINE vec<T> absolute(vec<T> x) {
  return x < T(0) ? -x : x;
}

/// Phi(x) and exp(-x^2/2).
template <class T>
struct normal {
  vec<T> cdf, bell;
};
/// Phi(-y) = bell(y) R(y), R smooth: a polynomial in 1/(1 + 0.3 y).
NEGOOD_INLINE normal<float> normal_cdf(vec<float> x) {
  const vec<float> y = absolute<float>(x);
  const vec<float> bell = exp(-0.5f * x * x);
  const vec<float> t = 1.0f / (1.0f + 0.3f * y);
  const vec<float> r = detail::polynomial(t, 7.168875981733436e-06, 0.1194876879453659, 0.12192033976316452,
                                          0.09468352049589157, 0.1425355225801468, -0.07650648057460785,
                                          0.22866007685661316, -0.16916611790657043, 0.038378290832042694);
  const vec<float> lower = bell * r;
  return {x < 0.0f ? lower : 1.0f - lower, bell};
}
NEGOOD_INLINE normal<double> normal_cdf(vec<double> x) {
  return {detail::each([](double t) { return 0.5 * std::erfc(-t * 0.70710678118654752440); }, x), exp(-0.5 * x * x)};
}

template <class T>
NEGOOD_INLINE vec<T> sigmoid(vec<T> x) {
  const vec<T> e = exp(-absolute<T>(x));
  const vec<T> r = T(1) / (T(1) + e);
  return x < T(0) ? e * r : r;
}

// The element functions on vectors. A function not named here is applied lane by lane.

template <class T, class F>
NEGOOD_INLINE vec<T> apply(const F& f, vec<T> a) {
  if constexpr (std::is_same_v<F, element::scale>)
    return static_cast<T>(f.factor) * a;
  else if constexpr (std::is_same_v<F, element::shift>)
    return a + static_cast<T>(f.offset);
  else if constexpr (std::is_same_v<F, element::exp>)
    return exp(a);
  else if constexpr (std::is_same_v<F, element::log>)
    return log(a);
  else if constexpr (std::is_same_v<F, element::square>)
    return a * a;
  else if constexpr (std::is_same_v<F, element::reciprocal>)
    return T(1) / a;
  else if constexpr (std::is_same_v<F, element::sigmoid>)
    return sigmoid<T>(a);
  else if constexpr (std::is_same_v<F, element::softplus>) {
    return (a > T(0) ? a : vec<T>{}) + log1p_unit(exp(-absolute<T>(a)));
  } else if constexpr (std::is_same_v<F, element::gelu>)
    return a * normal_cdf(a).cdf;
  else if constexpr (std::is_same_v<F, element::gelu_derivative>) {
    const normal<T> n = normal_cdf(a);
    return n.cdf + a * (T(0.39894228040143267794) * n.bell);
  } else if constexpr (std::is_same_v<F, element::quick_gelu>)
    return a * sigmoid<T>(T(1.702) * a);
  else if constexpr (std::is_same_v<F, element::quick_gelu_derivative>) {
    const vec<T> r = sigmoid<T>(T(1.702) * a);
    return r * (T(1) + T(1.702) * a * (T(1) - r));
  } else {
    for (index_type i = 0; i < lanes<T>; ++i) a[i] = f(static_cast<T>(a[i]));
    return a;
  }
}

template <class T, class F>
NEGOOD_INLINE vec<T> apply(const F& f, vec<T> a, vec<T> b) {
  if constexpr (std::is_same_v<F, element::add>)
    return a + b;
  else if constexpr (std::is_same_v<F, element::subtract>)
    return a - b;
  else if constexpr (std::is_same_v<F, element::multiply>)
    return a * b;
  else if constexpr (std::is_same_v<F, element::divide>)
    return a / b;
  else if constexpr (std::is_same_v<F, element::maximum>)
    return max<T>(a, b);
  else if constexpr (std::is_same_v<F, element::add_scaled>)
    return a + static_cast<T>(f.factor) * b;
  else {
    for (index_type i = 0; i < lanes<T>; ++i) a[i] = f(static_cast<T>(a[i]), static_cast<T>(b[i]));
    return a;
  }
}

}  // namespace negood::eigen::simd
