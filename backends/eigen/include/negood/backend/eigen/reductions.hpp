/// \file reductions.hpp  Sums, maxima and the largest entries of a row, each in one fixed order.
#pragma once

#include <negood/backend/eigen/simd.hpp>
#include <negood/backend/element.hpp>

#include <algorithm>
#include <numeric>
#include <type_traits>
#include <vector>

namespace negood::eigen::detail {

template <class T, class R>
NEGOOD_INLINE simd::vec<T> combine(const R& f, simd::vec<T> a, simd::vec<T> b) {
  if constexpr (std::is_same_v<R, reduction::sum>)
    return a + b;
  else if constexpr (std::is_same_v<R, reduction::maximum>)
    return simd::max<T>(a, b);
  else {
    for (index_type i = 0; i < simd::lanes<T>; ++i) a[i] = f(static_cast<T>(a[i]), static_cast<T>(b[i]));
    return a;
  }
}

/// The reduction of a[0, n): four interleaved vectors, folded pairwise, then their lanes in halves.
template <class T, class R>
T reduce(R f, const T* a, index_type n) {
  using simd::lanes;
  const T identity = R::template identity<T>();
  simd::vec<T> s0 = simd::splat<T>(identity), s1 = s0, s2 = s0, s3 = s0;
  index_type i = 0;
  for (; i + 4 * lanes<T> <= n; i += 4 * lanes<T>) {
    s0 = combine<T>(f, s0, simd::load<T>(a + i));
    s1 = combine<T>(f, s1, simd::load<T>(a + i + lanes<T>));
    s2 = combine<T>(f, s2, simd::load<T>(a + i + 2 * lanes<T>));
    s3 = combine<T>(f, s3, simd::load<T>(a + i + 3 * lanes<T>));
  }
  for (; i + lanes<T> <= n; i += lanes<T>) s0 = combine<T>(f, s0, simd::load<T>(a + i));
  if (i < n) s1 = combine<T>(f, s1, simd::load_part<T>(a + i, n - i, identity));
  const simd::vec<T> total = combine<T>(f, combine<T>(f, s0, s1), combine<T>(f, s2, s3));
  T x[lanes<T>];
  std::memcpy(x, &total, sizeof(x));
  for (index_type half = lanes<T> / 2; half > 0; half /= 2)
    for (index_type j = 0; j < half; ++j) x[j] = f(x[j], x[j + half]);
  return x[0];
}

/// into[i] = f(into[i], a[i])
template <class T, class R>
void fold(R f, T* into, const T* a, index_type n) {
  simd::transform<T>(
      n, into, [&](simd::vec<T> x, simd::vec<T> y) { return combine<T>(f, x, y); }, static_cast<const T*>(into), a);
}

/// The k largest of a row, largest first, equal values by index; a NaN counts as smaller than every number.
template <class T>
void top_of_row(const T* a, index_type n, index_type k, T* values, index_type* indices) {
  if (k == 0) return;
  const auto before = [a](index_type i, index_type j) {
    const bool number_i = a[i] == a[i], number_j = a[j] == a[j];
    if (number_i != number_j) return number_i;
    return number_i && a[i] != a[j] ? a[i] > a[j] : i < j;
  };
  if (k == 1) {
    index_type best = 0;
    for (index_type i = 1; i < n; ++i)
      if (before(i, best)) best = i;
    indices[0] = best;
  } else if (k * 8 <= n) {
    // A heap of the best so far, its worst in front: most of a long row is refused by one comparison.
    index_type* end = indices + k;
    std::iota(indices, end, index_type{0});
    std::make_heap(indices, end, before);
    for (index_type i = k; i < n; ++i)
      if (before(i, indices[0])) {
        std::pop_heap(indices, end, before);
        end[-1] = i;
        std::push_heap(indices, end, before);
      }
    std::sort_heap(indices, end, before);
  } else {
    std::vector<index_type> order(static_cast<std::size_t>(n));
    std::iota(order.begin(), order.end(), index_type{0});
    std::partial_sort(order.begin(), order.begin() + k, order.end(), before);
    std::copy_n(order.begin(), k, indices);
  }
  for (index_type j = 0; j < k; ++j) values[j] = a[indices[j]];
}

}  // namespace negood::eigen::detail
