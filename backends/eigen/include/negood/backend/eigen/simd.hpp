/// \file simd.hpp  The widest vectors of the target, as a type with the usual operators.
///
/// Loops over elements are written on whole vectors, and the last, partial vector goes through the same instructions. So
/// an element's bytes do not depend on where in a matrix it stands, which an auto-vectorised loop with a scalar remainder
/// does not promise.
#pragma once

#include <negood/config.hpp>

#include <cstring>
#include <utility>

namespace negood::eigen::simd {

#if defined(__AVX512F__)
inline constexpr int vector_bytes = 64;
#elif defined(__AVX__)
inline constexpr int vector_bytes = 32;
#else
inline constexpr int vector_bytes = 16;
#endif

template <class T>
struct vector_of;
template <>
struct vector_of<float> {
  typedef float type __attribute__((vector_size(vector_bytes)));
  typedef std::int32_t integer __attribute__((vector_size(vector_bytes)));
};
template <>
struct vector_of<double> {
  typedef double type __attribute__((vector_size(vector_bytes)));
  typedef std::int64_t integer __attribute__((vector_size(vector_bytes)));
};
/// A vector of T; comparisons give `mask<T>`, and `m ? a : b` chooses lane by lane.
template <class T>
using vec = typename vector_of<T>::type;
template <class T>
using mask = typename vector_of<T>::integer;
template <class T>
inline constexpr index_type lanes = vector_bytes / static_cast<int>(sizeof(T));

#define NEGOOD_INLINE inline __attribute__((always_inline))

template <class T>
NEGOOD_INLINE vec<T> load(const T* p) {
  vec<T> v;
  std::memcpy(&v, p, sizeof(v));
  return v;
}
template <class T>
NEGOOD_INLINE void store(T* p, vec<T> v) {
  std::memcpy(p, &v, sizeof(v));
}
/// The first `count` < lanes values, `fill` beyond.
template <class T>
NEGOOD_INLINE vec<T> load_part(const T* p, index_type count, T fill = T(0)) {
  vec<T> v = fill - vec<T>{};
  std::memcpy(&v, p, static_cast<std::size_t>(count) * sizeof(T));
  return v;
}
template <class T>
NEGOOD_INLINE void store_part(T* p, vec<T> v, index_type count) {
  std::memcpy(p, &v, static_cast<std::size_t>(count) * sizeof(T));
}
template <class T>
NEGOOD_INLINE vec<T> splat(T x) {
  return x - vec<T>{};  // x - 0 is x for every x, -0 too, so that the compiler drops the subtraction; not so x + 0
}
template <class T>
NEGOOD_INLINE vec<T> max(vec<T> a, vec<T> b) {
  return a < b ? b : a;
}

namespace detail {
template <std::size_t... I, class V>
NEGOOD_INLINE auto lower(std::index_sequence<I...>, V v) {
  return __builtin_shufflevector(v, v, static_cast<int>(I)...);
}
template <std::size_t... I, class V>
NEGOOD_INLINE auto upper(std::index_sequence<I...>, V v) {
  return __builtin_shufflevector(v, v, static_cast<int>(I + sizeof...(I))...);
}
}  // namespace detail

/// All lanes folded to one value: upper half on lower half, again and again.
template <std::size_t N, class V, class F>
NEGOOD_INLINE auto fold_lanes(V v, F f) {
  if constexpr (N == 2)
    return f(v[0], v[1]);
  else {
    using half = std::make_index_sequence<N / 2>;
    return fold_lanes<N / 2>(f(detail::lower(half{}, v), detail::upper(half{}, v)), f);
  }
}
template <class T>
NEGOOD_INLINE T sum_lanes(vec<T> v) {
  return fold_lanes<static_cast<std::size_t>(lanes<T>)>(v, [](auto a, auto b) { return a + b; });
}
template <class T>
NEGOOD_INLINE T max_lanes(vec<T> v) {
  return fold_lanes<static_cast<std::size_t>(lanes<T>)>(v, [](auto a, auto b) { return a < b ? b : a; });
}

/// out[i] = f(a[i]), f(a[i], b[i]), ... for i in [0, n), f on vectors.
template <class T, class F, class... In>
NEGOOD_INLINE void transform(index_type n, T* out, F f, const In*... in) {
  index_type i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) store<T>(out + i, f(load<T>(in + i)...));
  if (i < n) store_part<T>(out + i, f(load_part<T>(in + i, n - i)...), n - i);
}

/// f(load(a + i), load(b + i), ...) for every vector of [0, n); lanes beyond n hold `fill`.
template <class T, class F, class... In>
NEGOOD_INLINE void visit(index_type n, T fill, F f, const In*... in) {
  index_type i = 0;
  for (; i + lanes<T> <= n; i += lanes<T>) f(load<T>(in + i)...);
  if (i < n) f(load_part<T>(in + i, n - i, fill)...);
}

}  // namespace negood::eigen::simd
