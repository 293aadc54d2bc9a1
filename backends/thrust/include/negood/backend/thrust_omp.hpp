/// \file thrust_omp.hpp  Thrust's OpenMP system: `negood::thrust_omp::context<Real>`.
///
/// Only where the compiler has OpenMP on (-fopenmp); the component's target sets it.
#pragma once

#if defined(_OPENMP)

#include <negood/backend/thread_pool.hpp>
#include <negood/backend/thrust/host_system.hpp>

#include <thrust/system/omp/execution_policy.h>

#include <omp.h>

namespace negood::thrust_backend {

struct omp_runner {
  static constexpr std::string_view name = "thrust-omp";
  explicit omp_runner(index_type threads) : threads_(threads > 0 ? threads : available_threads()) {}
  index_type threads() const { return threads_; }
  template <class F>
  void run(index_type count, const F& f) const {
    on_threads([&] { ::thrust::for_each_n(::thrust::omp::par, ::thrust::counting_iterator<index_type>(0), count, f); });
  }
  template <class Key>
  void sort(Key* first, Key* last) const {
    on_threads([&] { ::thrust::sort(::thrust::omp::par, first, last); });
  }

 private:
  template <class Work>
  void on_threads(Work&& work) const {
    const int before = omp_get_max_threads();
    omp_set_num_threads(static_cast<int>(threads_));
    work();
    omp_set_num_threads(before);
  }
  index_type threads_;
};

}  // namespace negood::thrust_backend

namespace negood::thrust_omp {
using options = thrust_backend::host_options;
template <class Real>
using context = thrust_backend::context<thrust_backend::host_system<thrust_backend::omp_runner>, Real>;
static_assert(check_backend<context<float>>());
static_assert(check_backend<context<double>>());
}  // namespace negood::thrust_omp

#endif
