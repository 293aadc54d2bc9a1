/// \file thrust_cpp.hpp  Thrust's sequential system: `negood::thrust_cpp::context<Real>`, one thread.
#pragma once

#include <negood/backend/thrust/host_system.hpp>

namespace negood::thrust_backend {

struct cpp_runner {
  static constexpr std::string_view name = "thrust-cpp";
  explicit cpp_runner(index_type) {}
  index_type threads() const { return 1; }
  template <class F>
  void run(index_type count, const F& f) const {
    ::thrust::for_each_n(::thrust::cpp::par, ::thrust::counting_iterator<index_type>(0), count, f);
  }
  template <class Key>
  void sort(Key* first, Key* last) const {
    ::thrust::sort(::thrust::cpp::par, first, last);
  }
};

}  // namespace negood::thrust_backend

namespace negood::thrust_cpp {
using options = thrust_backend::host_options;
template <class Real>
using context = thrust_backend::context<thrust_backend::host_system<thrust_backend::cpp_runner>, Real>;
static_assert(check_backend<context<float>>());
static_assert(check_backend<context<double>>());
}  // namespace negood::thrust_cpp
