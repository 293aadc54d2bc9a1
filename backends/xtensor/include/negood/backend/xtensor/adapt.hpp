/// \file adapt.hpp  A program's xtensor arrays as matrices of negood and back, without a copy.
///
/// A tensor of the backend *is* an `xt::xtensor<Real, 2>`: one that a program holds is passed to an algorithm as it is.
#pragma once

#include <negood/backend/host_matrix.hpp>

#include <array>

#if __has_include(<xtensor/containers/xtensor.hpp>)  // 0.26 and later
#include <xtensor/containers/xadapt.hpp>
#include <xtensor/containers/xarray.hpp>
#include <xtensor/containers/xtensor.hpp>
#else
#include <xtensor/xadapt.hpp>
#include <xtensor/xarray.hpp>
#include <xtensor/xtensor.hpp>
#endif

namespace negood::xtensor {

template <class Real>
using tensor = xt::xtensor<Real, 2, xt::layout_type::row_major>;

/// The values of a row-major container as a host matrix: rank 2 as it is, rank 1 as `[n, 1]`. The container must
/// outlive the view. \throws error negood.xtensor.1 for another rank
template <class Container>
host_view<typename Container::value_type> view(const Container& a) {
  static_assert(Container::static_layout == xt::layout_type::row_major, "negood: the container must be row-major");
  const auto& shape = a.shape();
  if (shape.size() != 1 && shape.size() != 2)
    fail(error_category::data, "negood.xtensor.1", "view", "an array of rank " + std::to_string(shape.size()),
         "a matrix has rank 2, a vector rank 1");
  const auto rows = static_cast<index_type>(shape[0]);
  const auto cols = shape.size() == 2 ? static_cast<index_type>(shape[1]) : index_type{1};
  return {a.data(), rows, cols};
}
template <class Container>
void view(const Container&& a) = delete;  // would dangle

/// A host matrix as an xtensor expression on the same memory; it must outlive the expression.
template <class T>
auto adapt(host_matrix<T>& m) {
  return xt::adapt(m.data(), static_cast<std::size_t>(m.size()), xt::no_ownership(),
                   std::array<std::size_t, 2>{static_cast<std::size_t>(m.rows()), static_cast<std::size_t>(m.cols())});
}
template <class T>
auto adapt(const host_matrix<T>& m) {
  return xt::adapt(m.data(), static_cast<std::size_t>(m.size()), xt::no_ownership(),
                   std::array<std::size_t, 2>{static_cast<std::size_t>(m.rows()), static_cast<std::size_t>(m.cols())});
}

/// The values of an `xt::xarray` of rank 1 or 2 as a tensor of the backend; they move, nothing is copied.
template <class Real>
tensor<Real> take(xt::xarray<Real, xt::layout_type::row_major>&& a) {
  const host_view<Real> shape = view(a);
  using shape_type = typename tensor<Real>::inner_shape_type;
  using strides_type = typename tensor<Real>::inner_strides_type;
  const auto rows = static_cast<std::size_t>(shape.rows), cols = static_cast<std::size_t>(shape.cols);
  // xtensor gives axes of length 1 the stride 0.
  const strides_type strides{rows == 1 ? 0 : static_cast<std::ptrdiff_t>(cols), cols == 1 ? 0 : 1};
  return tensor<Real>(std::move(a.storage()), shape_type{rows, cols}, strides_type(strides));
}

}  // namespace negood::xtensor
