/// \file list_xtensor.hpp  The xtensor backend.
#pragma once

#include <negood/backend/xtensor.hpp>

#include <tuple>

#include "tolerance.hpp"

namespace conformance {

template <class Real>
struct xtensor_backend {
  using context = xtensor::context<Real>;
  static constexpr tolerance allowed = tolerance_of<Real>;
  static context make(index_type threads = 1) { return context(xtensor::options{.threads = threads}); }
};
struct xtensor_float : xtensor_backend<float> {
  static constexpr const char* name = "xtensor<float>";
};
struct xtensor_double : xtensor_backend<double> {
  static constexpr const char* name = "xtensor<double>";
};

using every_backend = std::tuple<xtensor_float, xtensor_double>;
using invariant_backends = every_backend;
using algorithm_backends = std::tuple<xtensor_float>;

}  // namespace conformance
