/// \file library_panels.hpp  A right factor for the products of a library: oneDNN's where it is found (float), else
/// Eigen's.
///
/// The factor is cut into panels of columns, the rows into blocks of one fixed size (the rest padded with zeros): the
/// library always computes the same shapes, so the bytes of a row depend neither on the other rows nor on the number of
/// threads.
#pragma once

#include <negood/backend/eigen/onednn.hpp>
#include <negood/backend/eigen/panels.hpp>

#include <algorithm>
#include <vector>

namespace negood::eigen::detail {

template <class T>
class library_panels {
 public:
  static constexpr index_type width = 512;
  static constexpr index_type row_unit = 64;
  static constexpr index_type rows_per_block = 256;  ///< of one task

  library_panels() = default;
  library_panels(index_type k, index_type n)
      : k_(k), n_(n), packed_(static_cast<std::size_t>((n + width - 1) / width)) {}

  index_type count() const noexcept { return static_cast<index_type>(packed_.size()); }

  void pack(index_type j, strided<T> b) {
    panel& p = packed_[static_cast<std::size_t>(j)];
    b = b.at(0, j * width);
    if (k_ == 0) return;
#if defined(NEGOOD_HAVE_ONEDNN)
    if constexpr (through_onednn) {
      p.kernel = onednn_product::of(k_, columns(j), n_);
      p.kernel->pack(b.data, b.row_step, b.col_step, p.values.require(p.kernel->packed_bytes() / sizeof(T)));
      return;
    }
#endif
    copy_block(b, k_, columns(j), p.values.require(static_cast<std::size_t>(k_ * columns(j))), columns(j));
  }

  /// c[0..m, columns of panels [first, last)) = start + a b; rows of c stand `c_step` apart.
  void multiply(index_type m, strided<T> a, index_type first, index_type last, summand<T> start, T* c,
                index_type c_step) const {
    thread_local buffer<T> rows_buffer, edge_buffer;
    for (index_type r = 0; r < m;) {
      const index_type left = m - r, unit = unit_of(left), rows = std::min(unit, left);
      // Rows that are whole and contiguous are read where they are, others are copied and padded.
      const T* block = a.at(r, 0).data;
      if (rows < unit || a.col_step != 1 || a.row_step != k_) {
        T* copied = rows_buffer.require(static_cast<std::size_t>(unit * k_));
        copy_block(a.at(r, 0), rows, k_, copied, k_);
        std::fill(copied + rows * k_, copied + unit * k_, T(0));
        block = copied;
      }
      for (index_type j = first; j < last; ++j) {
        T* out = c + r * c_step + j * width;
        if (rows == unit && c_step == n_) {
          product(j, unit, block, out);
        } else {
          T* edge = edge_buffer.require(static_cast<std::size_t>(unit * n_));
          product(j, unit, block, edge);
          for (index_type i = 0; i < rows; ++i) std::copy_n(edge + i * n_, columns(j), out + i * c_step);
        }
        if (start.data)
          for (index_type i = 0; i < rows; ++i) {
            const T* add = start.data + (r + i) * start.row_step + j * width;
            T* to = out + i * c_step;
            for (index_type x = 0; x < columns(j); ++x) to[x] += add[x];
          }
      }
      r += rows;
    }
  }

 private:
#if defined(NEGOOD_HAVE_ONEDNN)
  static constexpr bool through_onednn = std::is_same_v<T, float>;
  /// Rows of the next block where `left` are left: each block reads the whole factor, each row of it costs as much.
  static constexpr index_type unit_of(index_type left) {
    if (!through_onednn || left > onednn_product::half_rows) return row_unit;
    return left > onednn_product::half_rows / 2 ? onednn_product::half_rows : onednn_product::tail_rows;
  }
#else
  static constexpr index_type unit_of(index_type) { return row_unit; }
#endif

  struct panel {
    buffer<T> values;
#if defined(NEGOOD_HAVE_ONEDNN)
    std::shared_ptr<const onednn_product> kernel;
#endif
  };

  index_type columns(index_type j) const noexcept { return std::min(width, n_ - j * width); }

  /// out[i * n + x] for `unit` rows and the columns of panel j; a is contiguous.
  void product(index_type j, index_type unit, const T* a, T* out) const {
    const panel& p = packed_[static_cast<std::size_t>(j)];
    if (k_ == 0) {
      for (index_type i = 0; i < unit; ++i) std::fill_n(out + i * n_, columns(j), T(0));
      return;
    }
#if defined(NEGOOD_HAVE_ONEDNN)
    if constexpr (through_onednn) return p.kernel->run(unit, a, p.values.data(), out);
#endif
    using matrix = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
    const Eigen::Map<const matrix> left(a, unit, k_), right(p.values.data(), k_, columns(j));
    Eigen::Map<matrix, 0, Eigen::OuterStride<>>(out, unit, columns(j), Eigen::OuterStride<>(n_)).noalias() =
        left * right;
  }

  index_type k_ = 0, n_ = 0;
  std::vector<panel> packed_;
};

}  // namespace negood::eigen::detail
