/// \file list_thrust.hpp  The Thrust backend's systems on the processor.
#pragma once

#include <negood/backend/thrust_cpp.hpp>
#include <negood/backend/thrust_omp.hpp>
#include <negood/backend/thrust_tbb.hpp>

#include <tuple>

#include "tolerance.hpp"

namespace conformance {

template <class Context, class Real>
struct thrust_host_backend {
  using context = Context;
  static constexpr tolerance allowed = tolerance_of<Real>;
  static context make(index_type threads = 1) { return context({.threads = threads}); }
};
struct thrust_sequential : thrust_host_backend<thrust_cpp::context<float>, float> {
  static constexpr const char* name = "thrust-cpp<float>";
};
struct thrust_openmp : thrust_host_backend<thrust_omp::context<float>, float> {
  static constexpr const char* name = "thrust-omp<float>";
};
struct thrust_openmp_double : thrust_host_backend<thrust_omp::context<double>, double> {
  static constexpr const char* name = "thrust-omp<double>";
};
#if defined(NEGOOD_HAVE_TBB)
struct thrust_threading_blocks : thrust_host_backend<thrust_tbb::context<float>, float> {
  static constexpr const char* name = "thrust-tbb<float>";
};
using every_backend = std::tuple<thrust_sequential, thrust_openmp, thrust_openmp_double, thrust_threading_blocks>;
#else
using every_backend = std::tuple<thrust_sequential, thrust_openmp, thrust_openmp_double>;
#endif
using invariant_backends = every_backend;
using algorithm_backends = std::tuple<thrust_openmp>;

}  // namespace conformance
