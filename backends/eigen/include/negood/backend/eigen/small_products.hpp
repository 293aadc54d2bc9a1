/// \file small_products.hpp  The products inside attention: a few rows straight from memory, many through packed
/// panels.
///
/// Which of the two is taken depends on the size of one sequence alone, never on how many there are.
#pragma once

#include <negood/backend/eigen/panels.hpp>
#include <negood/backend/eigen/simd.hpp>

namespace negood::eigen::detail {

/// A row-major matrix inside another: rows stand `step` apart.
template <class T>
struct rows_of {
  T* data = nullptr;
  index_type step = 0;
  T* row(index_type r) const { return data + r * step; }
};

/// Up to this length a sequence's products are too small to be worth packing.
inline constexpr index_type short_sequence = 24;

template <class T>
NEGOOD_INLINE T dot(const T* a, const T* b, index_type n) {
  using simd::lanes;
  simd::vec<T> s0{}, s1{};
  index_type i = 0;
  for (; i + 2 * lanes<T> <= n; i += 2 * lanes<T>) {
    s0 += simd::load<T>(a + i) * simd::load<T>(b + i);
    s1 += simd::load<T>(a + i + lanes<T>) * simd::load<T>(b + i + lanes<T>);
  }
  for (; i + lanes<T> <= n; i += lanes<T>) s0 += simd::load<T>(a + i) * simd::load<T>(b + i);
  if (i < n) s1 += simd::load_part<T>(a + i, n - i) * simd::load_part<T>(b + i, n - i);
  return simd::sum_lanes<T>(s0 + s1);
}

/// Packs b as the right factor and adds a b to c, or sets it.
template <class T>
void through_panels(index_type m, index_type n, index_type k, strided<T> a, strided<T> b, rows_of<T> c, bool add) {
  panels<T> packed(k, n);
  for (index_type j = 0; j < packed.count(); ++j) packed.pack(j, b);
  packed.multiply(m, a, 0, packed.count(), add ? summand<T>{c.data, c.step} : summand<T>{}, c.data, c.step);
}

/// c[m, n] = a[m, k] b[n, k]'; only the first i + 1 + shown columns of row i are wanted where `triangle` is set.
template <class T>
void rows_by_rows(index_type m, index_type n, index_type k, rows_of<const T> a, rows_of<const T> b, rows_of<T> c,
                  bool triangle) {
  if (n > short_sequence) return through_panels<T>(m, n, k, {a.data, a.step, 1}, {b.data, 1, b.step}, c, false);
  for (index_type i = 0; i < m; ++i) {
    const index_type columns = triangle ? std::min(n, n - m + i + 1) : n;
    for (index_type j = 0; j < columns; ++j) c.row(i)[j] = dot(a.row(i), b.row(j), k);
  }
}

/// One vector-wide strip of c += a b.
template <class T, int Vectors>
NEGOOD_INLINE void strip(index_type m, index_type k, strided<T> a, rows_of<const T> b, rows_of<T> c, bool add,
                         index_type column) {
  using simd::lanes;
  for (index_type i = 0; i < m; ++i) {
    simd::vec<T> sum[Vectors];
    T* out = c.row(i) + column;
    NEGOOD_UNROLL for (int v = 0; v < Vectors; ++v) sum[v] = add ? simd::load<T>(out + v * lanes<T>) : simd::vec<T>{};
    for (index_type p = 0; p < k; ++p) {
      const simd::vec<T> x = simd::splat<T>(a.data[i * a.row_step + p * a.col_step]);
      NEGOOD_UNROLL for (int v = 0; v < Vectors; ++v) sum[v] += x * simd::load<T>(b.row(p) + column + v * lanes<T>);
    }
    NEGOOD_UNROLL for (int v = 0; v < Vectors; ++v) simd::store<T>(out + v * lanes<T>, sum[v]);
  }
}

/// c[m, n] (+)= a[m, k] b[k, n]; `a` may be read transposed.
template <class T>
void rows_by_columns(index_type m, index_type n, index_type k, strided<T> a, rows_of<const T> b, rows_of<T> c,
                     bool add) {
  if (m > short_sequence || k > short_sequence) return through_panels<T>(m, n, k, a, {b.data, b.step, 1}, c, add);
  using simd::lanes;
  index_type column = 0;
  for (; column + 4 * lanes<T> <= n; column += 4 * lanes<T>) strip<T, 4>(m, k, a, b, c, add, column);
  for (; column + lanes<T> <= n; column += lanes<T>) strip<T, 1>(m, k, a, b, c, add, column);
  if (column == n) return;
  for (index_type i = 0; i < m; ++i) {
    simd::vec<T> sum = add ? simd::load_part<T>(c.row(i) + column, n - column) : simd::vec<T>{};
    for (index_type p = 0; p < k; ++p)
      sum +=
          simd::splat<T>(a.data[i * a.row_step + p * a.col_step]) * simd::load_part<T>(b.row(p) + column, n - column);
    simd::store_part<T>(c.row(i) + column, sum, n - column);
  }
}

}  // namespace negood::eigen::detail
