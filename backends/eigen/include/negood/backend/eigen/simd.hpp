/// \file simd.hpp  The widest vectors of the target, as a type with the usual operators.
///
/// Loops over elements are written on whole vectors, and the last, partial vector goes through the same instructions.
/// So an element's bytes do not depend on where in a matrix it stands, which an auto-vectorised loop with a scalar
/// remainder does not promise.
#pragma once

#include <negood/config.hpp>

#include <cstring>
#include <type_traits>
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
#if defined(__clang__)
#define NEGOOD_UNROLL _Pragma("clang loop unroll(full)")
#else
#define NEGOOD_UNROLL _Pragma("GCC unroll 32")
#endif

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
template <class T>
NEGOOD_INLINE vec<T> splat(T x) {
  return x - vec<T>{};  // x - 0 is x for every x, -0 too, so that the compiler drops the subtraction; not so x + 0
}

namespace detail {
/// Copies count < lanes values by halves: a copy of unknown length would be a function call.
template <class T>
NEGOOD_INLINE void copy_part(T* to, const T* from, index_type count) {
  index_type done = 0;
  if constexpr (lanes < T >> 8)
    if (count & 8) {
      std::memcpy(to, from, 8 * sizeof(T));
      done = 8;
    }
  if constexpr (lanes < T >> 4)
    if (count & 4) {
      std::memcpy(to + done, from + done, 4 * sizeof(T));
      done += 4;
    }
  if constexpr (lanes < T >> 2)
    if (count & 2) {
      std::memcpy(to + done, from + done, 2 * sizeof(T));
      done += 2;
    }
  if (count & 1) to[done] = from[done];
}
}  // namespace detail

/// The first `count` < lanes values, `fill` beyond.
template <class T>
NEGOOD_INLINE vec<T> load_part(const T* p, index_type count, T fill = T(0)) {
  alignas(vector_bytes) T part[lanes<T>];
  store<T>(part, splat<T>(fill));
  detail::copy_part(part, p, count);
  return load<T>(part);
}
template <class T>
NEGOOD_INLINE void store_part(T* p, vec<T> v, index_type count) {
  alignas(vector_bytes) T part[lanes<T>];
  store<T>(part, v);
  detail::copy_part(p, part, count);
}
template <class T>
NEGOOD_INLINE vec<T> max(vec<T> a, vec<T> b) {
  return a < b ? b : a;
}

/// n rounded up to whole vectors.
template <class T>
constexpr index_type whole_vectors(index_type n) {
  return (n + lanes<T> - 1) / lanes<T> * lanes<T>;
}

/// All lanes folded to one value: upper half on lower half, again and again.
#if defined(__CUDACC__)
// nvcc's front end does not expand a pack in the arguments of __builtin_shufflevector.
template <std::size_t N, class V, class F>
NEGOOD_INLINE auto fold_lanes(V v, F f) {
  std::remove_cvref_t<decltype(v[0])> part[N];
  for (std::size_t i = 0; i < N; ++i) part[i] = v[i];
  for (std::size_t half = N / 2; half > 0; half /= 2)
    for (std::size_t i = 0; i < half; ++i) part[i] = f(part[i], part[i + half]);
  return part[0];
}
#else
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

template <std::size_t N, class V, class F>
NEGOOD_INLINE auto fold_lanes(V v, F f) {
  if constexpr (N == 2)
    return f(v[0], v[1]);
  else {
    using half = std::make_index_sequence<N / 2>;
    return fold_lanes<N / 2>(f(detail::lower(half{}, v), detail::upper(half{}, v)), f);
  }
}
#endif
template <class T>
NEGOOD_INLINE T sum_lanes(vec<T> v) {
  return fold_lanes<static_cast<std::size_t>(lanes<T>)>(v, [](auto a, auto b) { return a + b; });
}
template <class T>
NEGOOD_INLINE T max_lanes(vec<T> v) {
  return fold_lanes<static_cast<std::size_t>(lanes<T>)>(v, [](auto a, auto b) { return a < b ? b : a; });
}

namespace detail {
/// One step of a transposition: rows a and b exchange the lanes where `distance` is not, and is, part of the index.
template <std::size_t Distance, std::size_t... I, class V>
NEGOOD_INLINE void exchange(std::index_sequence<I...>, V& a, V& b) {
  constexpr std::size_t n = sizeof...(I);
#if defined(__CUDACC__)
  const V before_a = a, before_b = b;
  for (std::size_t i = 0; i < n; ++i)
    if (i & Distance)
      a[i] = before_b[i - Distance];
    else
      b[i] = before_a[i + Distance];
#else
  const V low = __builtin_shufflevector(a, b, static_cast<int>(I & Distance ? n + (I - Distance) : I)...);
  b = __builtin_shufflevector(a, b, static_cast<int>(I & Distance ? n + I : I + Distance)...);
  a = low;
#endif
}
template <std::size_t Distance, class V, std::size_t N>
NEGOOD_INLINE void transpose_from(V (&rows)[N]) {
  if constexpr (Distance < N) {
    NEGOOD_UNROLL for (std::size_t i = 0; i < N; ++i) if (!(i & Distance))
        exchange<Distance>(std::make_index_sequence<N>{}, rows[i], rows[i + Distance]);
    transpose_from<2 * Distance>(rows);
  }
}
}  // namespace detail

/// Transposes as many vectors as one has lanes.
template <class T>
NEGOOD_INLINE void transpose(vec<T> (&rows)[static_cast<std::size_t>(lanes<T>)]) {
  detail::transpose_from<1>(rows);
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
