/// \file host_support.hpp  What backends on host memory need beside their library: products in blocks of fixed shape,
/// the largest entries of a row, and checks of indices.
#pragma once

#include <negood/error.hpp>

#include <algorithm>
#include <numeric>
#include <span>
#include <string>
#include <vector>

// Present where the program's BLAS is OpenBLAS.
extern "C" {
void openblas_set_num_threads(int) __attribute__((weak));
int openblas_get_num_threads(void) __attribute__((weak));
}

namespace negood::host {

/// Keeps OpenBLAS to the calling threads for as long as it lives, then restores what was set: the backends' own threads
/// each compute a block.
class one_blas_thread {
 public:
  one_blas_thread() : before_(openblas_get_num_threads && openblas_set_num_threads ? openblas_get_num_threads() : 1) {
    if (before_ != 1) openblas_set_num_threads(1);
  }
  one_blas_thread(const one_blas_thread&) = delete;
  one_blas_thread& operator=(const one_blas_thread&) = delete;
  ~one_blas_thread() {
    if (before_ != 1) openblas_set_num_threads(before_);
  }

 private:
  int before_;
};

/// A matrix whose element (r, c) stands at data[r * row_step + c * col_step].
template <class T>
struct strided {
  const T* data;
  index_type row_step, col_step;
};

/// c = a b for a library whose kernels depend on the shape: the rows of `a` `[m, k]` go through in blocks of 256 and
/// 64, the last one padded with zeros, so that the library always sees the same sizes and the bytes of a row depend
/// neither on the other rows nor on the threads. (256, because a BLAS packs b once a block; small b only ever see 64,
/// where libraries switch to other kernels.)
///
/// `run(count, f)` calls f(i) for i in [0, count), at once or not; `gemm(rows, block, out)` computes out `[rows, n]`
/// from a contiguous block `[rows, k]`.
template <class T, class Run, class Gemm>
void product_in_blocks(Run&& run, index_type m, index_type n, index_type k, strided<T> a, T* c, Gemm&& gemm) {
  constexpr index_type small = 64, large = 256, worth_large = 1 << 15;
  if (m <= 0 || n <= 0) return;
  if (k == 0) {
    std::fill_n(c, m * n, T(0));
    return;
  }
  const index_type large_blocks = n * k >= worth_large ? m / large : 0, rest = m - large_blocks * large;
  run(large_blocks + (rest + small - 1) / small, [&](index_type b) {
    thread_local std::vector<T> rows, padded;
    const index_type unit = b < large_blocks ? large : small;
    const index_type first = b < large_blocks ? b * large : large_blocks * large + (b - large_blocks) * small;
    const index_type count = std::min(unit, m - first);
    const T* from = a.data + first * a.row_step;
    if (count < unit || a.col_step != 1 || a.row_step != k) {
      rows.assign(static_cast<std::size_t>(unit * k), T(0));
      T* to = rows.data();
      if (a.col_step == 1)
        for (index_type r = 0; r < count; ++r) std::copy_n(from + r * a.row_step, k, to + r * k);
      else
        for (index_type p = 0; p < k; ++p)
          for (index_type r = 0; r < count; ++r) to[r * k + p] = from[r * a.row_step + p * a.col_step];
      from = to;
    }
    if (count == unit) {
      gemm(unit, from, c + first * n);
      return;
    }
    padded.resize(static_cast<std::size_t>(unit * n));
    gemm(unit, from, padded.data());
    std::copy_n(padded.data(), count * n, c + first * n);
  });
}

/// The k largest of a row, largest first, equal values by index; a NaN counts as smaller than every number.
template <class T>
void top_of_row(const T* a, index_type n, index_type k, T* values, index_type* indices) {
  std::vector<index_type> order(static_cast<std::size_t>(n));
  std::iota(order.begin(), order.end(), index_type{0});
  std::partial_sort(order.begin(), order.begin() + k, order.end(), [a](index_type i, index_type j) {
    const bool number_i = a[i] == a[i], number_j = a[j] == a[j];
    if (number_i != number_j) return number_i;
    return number_i && a[i] != a[j] ? a[i] > a[j] : i < j;
  });
  for (index_type j = 0; j < k; ++j) {
    indices[j] = order[static_cast<std::size_t>(j)];
    values[j] = a[indices[j]];
  }
}

/// \throws error negood.backend.2 where an index is not a row of a matrix of `limit` rows
inline void check_rows(std::string_view where, std::span<const index_type> rows, index_type limit) {
  for (const index_type r : rows)
    if (r < 0 || r >= limit)
      fail(error_category::data, "negood.backend.2", where,
           "row " + std::to_string(r) + " of a matrix of " + std::to_string(limit) + " rows");
}

/// \throws error negood.backend.3 where a rectangle does not lie in a matrix `[rows, cols]`
inline void check_rectangle(std::string_view where, index_type rows, index_type cols, index_type r0, index_type c0,
                            index_type count, index_type width) {
  if (r0 < 0 || c0 < 0 || count < 0 || width < 0 || r0 + count > rows || c0 + width > cols)
    fail(error_category::data, "negood.backend.3", where,
         shape_string(count, width) + " at " + shape_string(r0, c0) + " does not lie in " + shape_string(rows, cols));
}

/// A number of rows and columns that a tensor can have. \throws error negood.backend.5
inline index_type checked_size(index_type rows, index_type cols) {
  if (rows < 0 || cols < 0 || (rows > 0 && cols > (index_type{1} << 46) / rows))
    fail(error_category::resource, "negood.backend.5", "tensor", shape_string(rows, cols) + " is not a possible shape");
  return rows * cols;
}

}  // namespace negood::host
