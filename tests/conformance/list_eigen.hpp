/// \file list_eigen.hpp  The reference and the Eigen backend in each precision.
#pragma once

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>

#include <tuple>

#include "tolerance.hpp"

namespace conformance {

struct reference_double {
  using context = reference::context<double>;
  static constexpr const char* name = "reference<double>";
  static constexpr tolerance allowed = tolerance_of<double>;
  static context make(index_type = 1) { return {}; }
};
struct reference_float {
  using context = reference::context<float>;
  static constexpr const char* name = "reference<float>";
  static constexpr tolerance allowed = tolerance_of<float>;
  static context make(index_type = 1) { return {}; }
};
template <class Real, precision P>
struct eigen_backend {
  using context = eigen::context<Real>;
  static context make(index_type threads = 1) { return context(eigen::options{.threads = threads, .precision = P}); }
};
struct eigen_float : eigen_backend<float, precision::f32> {
  static constexpr const char* name = "eigen<float> f32";
  static constexpr tolerance allowed = tolerance_of<float>;
};
struct eigen_double : eigen_backend<double, precision::f64> {
  static constexpr const char* name = "eigen<double>";
  static constexpr tolerance allowed = tolerance_of<double>;
};
struct eigen_bf16x3 : eigen_backend<float, precision::bf16x3> {
  static constexpr const char* name = "eigen<float> bf16x3";
  static constexpr tolerance allowed{2e-6, 6e-5};
};
struct eigen_bf16 : eigen_backend<float, precision::bf16> {
  static constexpr const char* name = "eigen<float> bf16";
  static constexpr tolerance allowed{2e-6, 3e-2};
};

using every_backend =
    std::tuple<reference_double, reference_float, eigen_float, eigen_double, eigen_bf16x3, eigen_bf16>;
using invariant_backends = std::tuple<eigen_float, eigen_double, eigen_bf16x3, eigen_bf16>;
using algorithm_backends = std::tuple<eigen_float, eigen_double, eigen_bf16x3>;

}  // namespace conformance
