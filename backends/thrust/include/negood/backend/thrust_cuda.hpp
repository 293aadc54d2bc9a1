/// \file thrust_cuda.hpp  Thrust's CUDA system: `negood::thrust_cuda::context<Real>`, in sources that nvcc compiles.
///
/// Where a device's bytes are concerned: the kernels' sums have one order; a product's may change with its shape,
/// because cuBLAS chooses its kernel by it.
#pragma once

#if defined(__CUDACC__)

#include <negood/backend/thrust/cuda_system.hpp>

namespace negood::thrust_cuda {
using options = thrust_backend::cuda_options;
template <class Real>
using context = thrust_backend::context<thrust_backend::cuda_system, Real>;
static_assert(check_backend<context<float>>());
static_assert(check_backend<context<double>>());
}  // namespace negood::thrust_cuda

#endif
