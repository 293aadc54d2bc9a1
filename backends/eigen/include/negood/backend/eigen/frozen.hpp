/// \file frozen.hpp  A constant matrix, packed once for each direction it is used in.
#pragma once

#include <negood/backend/eigen/products.hpp>

namespace negood::eigen {

template <class Real>
class frozen {
 public:
  frozen() = default;
  frozen(tensor<Real> values, negood::precision p) : values_(std::move(values)), precision_(p) {}
  index_type rows() const noexcept { return values_.rows(); }
  index_type cols() const noexcept { return values_.cols(); }

  /// out = x W or x W', plus the bias row if there is one.
  template <class Run>
  void multiply(Run&& run, direction way, index_type m, const Real* x, const Real* bias, Real* out) const {
    const bool normal = way == direction::normal;
    const index_type n = normal ? cols() : rows(), k = normal ? rows() : cols();
    const detail::strided<Real> w{values_.data(), normal ? cols() : 1, normal ? 1 : cols()};
    detail::multiply(run, precision_, m, n, k, detail::strided<Real>{x, k, 1}, w, out);
    if (bias)
      for (index_type r = 0; r < m; ++r) detail::fold(reduction::sum{}, out + r * n, bias, n);
  }

 private:
  tensor<Real> values_;
  negood::precision precision_ = negood::precision::f32;
};

}  // namespace negood::eigen
