/// \file program_backends.hpp  The backends of the program: eigen, and those of NEGOOD_CLI_BACKENDS, which CMake turns
/// into NEGOOD_CLI_<NAME>. A program for CUDA devices goes through nvcc, which does not compile Eigen's backend.
#pragma once

#if !NEGOOD_CLI_CUDA
#include <negood/backend/eigen.hpp>
#endif
#include <negood/backend/reference.hpp>

#if NEGOOD_CLI_TORCH
#include <negood/backend/torch.hpp>
#endif
#if NEGOOD_CLI_THRUST
#include <negood/backend/thrust_omp.hpp>
#endif
#if NEGOOD_CLI_CUDA
#include <negood/backend/thrust_cuda.hpp>
#endif
#if NEGOOD_CLI_XTENSOR
#include <negood/backend/xtensor.hpp>
#endif

/// M(context) for every backend of the program: explicit instances of templates that are defined in one file.
#define NEGOOD_CLI_EACH_BACKEND(M) \
  NEGOOD_CLI_EACH_FLOAT_BACKEND(M) \
  NEGOOD_CLI_ON_EIGEN_DOUBLE(M)    \
  M(negood::reference::context<double>)
/// Those that compute in float: the demonstration runs on them.
#define NEGOOD_CLI_EACH_FLOAT_BACKEND(M) \
  NEGOOD_CLI_ON_EIGEN(M)                 \
  NEGOOD_CLI_ON_XTENSOR(M) NEGOOD_CLI_ON_THRUST(M) NEGOOD_CLI_ON_TORCH(M) NEGOOD_CLI_ON_CUDA(M)
#if NEGOOD_CLI_CUDA
#define NEGOOD_CLI_ON_EIGEN(M)
#define NEGOOD_CLI_ON_EIGEN_DOUBLE(M)
#define NEGOOD_CLI_ON_CUDA(M) M(negood::thrust_cuda::context<float>)
#else
#define NEGOOD_CLI_ON_EIGEN(M) M(negood::eigen::context<float>)
#define NEGOOD_CLI_ON_EIGEN_DOUBLE(M) M(negood::eigen::context<double>)
#define NEGOOD_CLI_ON_CUDA(M)
#endif
#if NEGOOD_CLI_XTENSOR
#define NEGOOD_CLI_ON_XTENSOR(M) M(negood::xtensor::context<float>)
#else
#define NEGOOD_CLI_ON_XTENSOR(M)
#endif
#if NEGOOD_CLI_THRUST
#define NEGOOD_CLI_ON_THRUST(M) M(negood::thrust_omp::context<float>)
#else
#define NEGOOD_CLI_ON_THRUST(M)
#endif
#if NEGOOD_CLI_TORCH
#define NEGOOD_CLI_ON_TORCH(M) M(negood::libtorch::context<float>)
#else
#define NEGOOD_CLI_ON_TORCH(M)
#endif
