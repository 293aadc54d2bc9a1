/// \file list_thrust.hpp  The Thrust backend's systems on the processor.
#pragma once

#include <negood/backend/thrust_cpp.hpp>
#include <negood/backend/thrust_omp.hpp>
#include <negood/backend/thrust_tbb.hpp>

#include <tuple>

#include "backend/thread_team.hpp"
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
/// Runs as a device does, on a processor: an index is an element, and a row is computed by two lanes.
struct team_system : thrust_backend::host_system<thrust_backend::cpp_runner> {
  using host_system::host_system;
  static constexpr bool index_per_element = true;
  template <class Kernel>
  void for_each_row(index_type n, index_type, const Kernel& kernel) {
    team_test::run_rows(2, n, kernel);
  }
};
struct thrust_teams : thrust_host_backend<thrust_backend::context<team_system, float>, float> {
  static constexpr const char* name = "thrust teams<float>";
};

#if defined(NEGOOD_HAVE_TBB)
struct thrust_threading_blocks : thrust_host_backend<thrust_tbb::context<float>, float> {
  static constexpr const char* name = "thrust-tbb<float>";
};
using invariant_backends = std::tuple<thrust_sequential, thrust_openmp, thrust_openmp_double, thrust_threading_blocks>;
using every_backend =
    std::tuple<thrust_sequential, thrust_openmp, thrust_openmp_double, thrust_threading_blocks, thrust_teams>;
#else
using invariant_backends = std::tuple<thrust_sequential, thrust_openmp, thrust_openmp_double>;
using every_backend = std::tuple<thrust_sequential, thrust_openmp, thrust_openmp_double, thrust_teams>;
#endif
using algorithm_backends = std::tuple<thrust_sequential, thrust_openmp>;

}  // namespace conformance
