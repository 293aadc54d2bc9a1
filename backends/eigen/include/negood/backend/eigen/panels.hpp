/// \file panels.hpp  The multiply-add kernel: a packed right factor times row blocks of the left one, in float or
/// double.
///
/// Element (i, j) of the product is one chain of multiply-adds over k in ascending order, whatever the number of rows
/// and columns around it: the bytes of a row depend on nothing but that row.
#pragma once

#include <negood/backend/eigen/panel_kernel.hpp>
#include <negood/backend/eigen/simd.hpp>
#include <negood/backend/eigen/tensor.hpp>

#include <algorithm>

namespace negood::eigen::detail {

/// Element (i, j) stands at data[i * row_step + j * col_step].
template <class T>
struct strided {
  const T* data = nullptr;
  index_type row_step = 0, col_step = 0;
  strided at(index_type i, index_type j) const { return {data + i * row_step + j * col_step, row_step, col_step}; }
};

/// What a product is added to: nothing, one row for all (`row_step` = 0), or a matrix, the result itself among them.
template <class T>
struct summand {
  const T* data = nullptr;
  index_type row_step = 0;
  summand at(index_type row) const { return {data ? data + row * row_step : nullptr, row_step}; }
};

/// Copies the `rows` x `cols` corner of a matrix to out[row * ld + col]; either step of it may be 1. In blocks small
/// enough for the first cache, because one of the two sides is walked against its grain.
template <class T>
void copy_block(strided<T> a, index_type rows, index_type cols, T* out, index_type ld) {
  if (a.col_step == 1) {
    if (cols > 0)
      for (index_type r = 0; r < rows; ++r)
        std::memcpy(out + r * ld, a.data + r * a.row_step, static_cast<std::size_t>(cols) * sizeof(T));
    return;
  }
  constexpr index_type edge = 16;
  for (index_type c0 = 0; c0 < cols; c0 += edge)
    for (index_type r0 = 0; r0 < rows; r0 += edge) {
      const index_type c1 = std::min(cols, c0 + edge), r1 = std::min(rows, r0 + edge);
      for (index_type c = c0; c < c1; ++c)
        for (index_type r = r0; r < r1; ++r) out[r * ld + c] = a.data[r * a.row_step + c * a.col_step];
    }
}

/// The right factor `[k, n]` in panels of `panel_width` columns, each `[k, width]`; columns beyond n are 0.
template <class T>
class panels {
 public:
  static constexpr index_type width = panel_width<T>, row_unit = greatest_panel_height;
  /// Rows of the left factor packed at a time: with k = 512 they fill an eighth of the second cache.
  static constexpr index_type rows_per_block = 8 * greatest_panel_height;

  panels() = default;
  /// Room for the factor; `pack` fills it, panel by panel.
  panels(index_type k, index_type n) : k_(k), n_(n), values_(static_cast<std::size_t>(k * count() * width)) {}
  void pack(index_type j, strided<T> b) {
    T* out = values_.data() + j * k_ * width;
    const index_type columns = std::min(width, n_ - j * width);
    if (columns < width) std::fill(out, out + k_ * width, T(0));
    copy_block(b.at(0, j * width), k_, columns, out, width);
  }
  index_type count() const noexcept { return (n_ + width - 1) / width; }
  index_type bytes() const noexcept { return k_ * count() * width * static_cast<index_type>(sizeof(T)); }

  /// c[0..m, columns of panels [first, last)) = start + a b; rows of c stand `c_step` apart.
  void multiply(index_type m, strided<T> a, index_type first, index_type last, summand<T> start, T* c,
                index_type c_step) const {
    thread_local buffer<T> packed_rows;
    constexpr index_type depth = 512;
    const panel_kernels<T>& kernels = this_panel_kernels<T>();
    const index_type height = kernels.height;
    for (index_type r0 = 0; r0 < m; r0 += rows_per_block) {
      const index_type rows = std::min(rows_per_block, m - r0);
      T* packed =
          packed_rows.require(static_cast<std::size_t>((rows_per_block + 2) * std::min(k_, depth) + simd::lanes<T>));
      index_type k0 = 0;
      do {
        const index_type steps = std::min(depth, k_ - k0);
        for (index_type s = 0; s < rows; s += height)
          pack_rows(a.at(r0 + s, k0), std::min(height, rows - s), steps, packed + s * steps);
        for (index_type j = first; j < last; ++j)
          for (index_type s = 0; s < rows; s += height)
            one_block(kernels, j, k0, steps, packed + s * steps, std::min(height, rows - s),
                      k0 > 0 ? summand<T>{c, c_step}.at(r0 + s) : start.at(r0 + s), c + (r0 + s) * c_step, c_step);
        k0 += steps;
      } while (k0 < k_);
    }
  }

 private:
  /// An odd number of rows is made even by a row of zeros: half as many kernels.
  static index_type even(index_type rows) { return (rows + 1) / 2 * 2; }
  /// `out` has room for one vector more than it is given.
  static void pack_rows(strided<T> a, index_type rows, index_type steps, T* out) {
    const index_type height = even(rows);
    index_type p = 0;
    if constexpr (greatest_panel_height <= simd::lanes<T>) {
      constexpr auto lanes = static_cast<std::size_t>(simd::lanes<T>);
      if (a.col_step == 1)
        for (; p + simd::lanes<T> <= steps; p += simd::lanes<T>) {
          simd::vec<T> block[lanes];
          for (std::size_t i = 0; i < lanes; ++i)
            block[i] = static_cast<index_type>(i) < rows
                           ? simd::load<T>(a.data + static_cast<index_type>(i) * a.row_step + p)
                           : simd::vec<T>{};
          simd::transpose<T>(block);
          // What a vector has beyond the height is overwritten by the next.
          for (std::size_t i = 0; i < lanes; ++i)
            simd::store<T>(out + (p + static_cast<index_type>(i)) * height, block[i]);
        }
    }
    if (rows < height)
      for (index_type q = p; q < steps; ++q) out[q * height + rows] = T(0);
    copy_block(strided<T>{a.data + p * a.col_step, a.col_step, a.row_step}, steps - p, rows, out + p * height, height);
  }
  void one_block(const panel_kernels<T>& kernels, index_type j, index_type k0, index_type steps, const T* a,
                 index_type rows, summand<T> start, T* c, index_type c_step) const {
    const T* b = values_.data() + (j * k_ + k0) * width;
    const index_type columns = std::min(width, n_ - j * width), height = even(rows);
    const panel_kernel<T> kernel = kernels.of_height[height];
    static constexpr T zeros[width] = {};
    T* out = c + j * width;
    const T* from = start.data ? start.data + j * width : zeros;
    if (columns == width && height == rows) return kernel(steps, a, b, from, start.row_step, out, c_step);
    // A block over the edge is computed in a square of its own.
    alignas(64) T edge[greatest_panel_height * width] = {};
    if (start.data)
      for (index_type i = 0; i < rows; ++i) std::copy_n(from + i * start.row_step, columns, edge + i * width);
    kernel(steps, a, b, edge, width, edge, width);
    for (index_type i = 0; i < rows; ++i) std::copy_n(edge + i * width, columns, out + i * c_step);
  }
  index_type k_ = 0, n_ = 0;
  buffer<T> values_;
};

}  // namespace negood::eigen::detail
