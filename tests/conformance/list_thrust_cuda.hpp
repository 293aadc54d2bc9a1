/// \file list_thrust_cuda.hpp  The Thrust backend on a CUDA device; without one the program ends with 77, which ctest
/// shows as skipped.
#pragma once

#include <negood/backend/thrust_cuda.hpp>

#include <cstdio>
#include <cstdlib>
#include <tuple>

#include "tolerance.hpp"

namespace conformance {

struct require_device {
  require_device() {
    int count = 0;
    const cudaError_t status = cudaGetDeviceCount(&count);
    if (status == cudaSuccess && count > 0) return;
    std::printf("skipped: no CUDA device (%s)\n", cudaGetErrorString(status));
    std::exit(77);
  }
};
inline const require_device device_is_there;

template <class Real, precision P>
struct cuda_backend {
  using context = thrust_cuda::context<Real>;
  static context make(index_type = 1) { return context({.precision = P}); }
};
struct cuda_float : cuda_backend<float, precision::f32> {
  static constexpr const char* name = "thrust-cuda<float> f32";
  static constexpr tolerance allowed = tolerance_of<float>;
};
struct cuda_double : cuda_backend<double, precision::f64> {
  static constexpr const char* name = "thrust-cuda<double>";
  static constexpr tolerance allowed = tolerance_of<double>;
};
struct cuda_bf16x3 : cuda_backend<float, precision::bf16x3> {
  static constexpr const char* name = "thrust-cuda<float> bf16x3";
  static constexpr tolerance allowed{2e-6, 6e-5};
};
struct cuda_bf16 : cuda_backend<float, precision::bf16> {
  static constexpr const char* name = "thrust-cuda<float> bf16";
  static constexpr tolerance allowed{2e-6, 3e-2};
};

using every_backend = std::tuple<cuda_float, cuda_double, cuda_bf16x3, cuda_bf16>;
using algorithm_backends = std::tuple<cuda_float, cuda_bf16x3>;
/// cuBLAS chooses kernels by shape: test_invariance.cpp is not run on a device.
using invariant_backends = std::tuple<cuda_float>;

}  // namespace conformance
