/// \file products.hpp  Matrix products.
#pragma once

#include <negood/backend/eigen/simd.hpp>
#include <negood/backend/eigen/reductions.hpp>
#include <negood/backend/eigen/tensor.hpp>
#include <negood/backend/precision.hpp>

namespace negood::eigen {

/// Which of the two products of a constant W.
enum class direction { normal, transposed };

template <class Real>
negood::precision supported(negood::precision wanted) {
  return sizeof(Real) == 8 ? negood::precision::f64 : wanted == negood::precision::f64 ? negood::precision::f32 : wanted;
}

namespace detail {
/// Element (i, j) stands at data[i * row_step + j * col_step].
template <class T>
struct strided {
  const T* data;
  index_type row_step, col_step;
};

template <class Run, class T>
void multiply(Run&& run, negood::precision, index_type m, index_type n, index_type k, strided<T> a, strided<T> b, T* c) {
  using dynamic = Eigen::Matrix<T, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  using steps = Eigen::Stride<Eigen::Dynamic, Eigen::Dynamic>;
  const Eigen::Map<const dynamic, 0, steps> right(b.data, k, n, steps(b.row_step, b.col_step));
  constexpr index_type height = 64;
  run((m + height - 1) / height, [&](index_type, index_type t) {
    const index_type first = t * height, count = std::min(height, m - first);
    dynamic left = dynamic::Zero(height, k);
    left.topRows(count) = Eigen::Map<const dynamic, 0, steps>(a.data + first * a.row_step, count, k, steps(a.row_step, a.col_step));
    const dynamic block = left * right;
    if (count * n > 0) std::memcpy(c + first * n, block.data(), static_cast<std::size_t>(count * n) * sizeof(T));
  });
}
}  // namespace detail
}  // namespace negood::eigen
