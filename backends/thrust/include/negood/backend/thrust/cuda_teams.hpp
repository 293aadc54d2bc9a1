/// \file cuda_teams.hpp  Teams on a device: a warp for a row, or a block for a long one.
///
/// NEGOOD_EMULATED_CUDA: a test defines what the device code uses, and runs it by threads of the processor.
#pragma once

#if defined(__CUDACC__) || defined(NEGOOD_EMULATED_CUDA)

#include <negood/backend/kernels/team.hpp>
#if defined(__CUDACC__)
#include <negood/backend/thrust/cuda_runtime.hpp>
#else
#define NEGOOD_CUDA_ABI cuda_emulated
#endif

namespace negood::thrust_backend {
inline namespace NEGOOD_CUDA_ABI {
namespace detail {

inline constexpr int warp_lanes = 32, rows_per_block = 4, block_lanes = 256;

/// Lane l exchanges with l ^ 16, l ^ 8, ...: f commutes, so that every lane ends with the same bytes.
template <class F, class T>
__device__ inline T fold_warp(F f, T x) {
  for (int step = warp_lanes / 2; step > 0; step /= 2) x = f(x, __shfl_xor_sync(0xffffffffu, x, step));
  return x;
}

struct warp_team {
  __device__ static index_type lane() { return threadIdx.x; }
  __device__ static constexpr index_type lanes() { return warp_lanes; }
  template <class F, class T>
  __device__ static T fold(F f, T x) {
    return fold_warp(f, x);
  }
};

/// The warps' values meet in shared memory, and every lane adds them in the order of the warps.
struct block_team {
  double* shared;  ///< one place a warp
  __device__ static index_type lane() { return threadIdx.x; }
  __device__ static constexpr index_type lanes() { return block_lanes; }
  template <class F, class T>
  __device__ T fold(F f, T x) const {
    static_assert(sizeof(T) <= sizeof(double));
    x = fold_warp(f, x);
    T* const of_warp = reinterpret_cast<T*>(shared);
    if (threadIdx.x % warp_lanes == 0) of_warp[threadIdx.x / warp_lanes] = x;
    __syncthreads();
    x = of_warp[0];
    for (int w = 1; w < block_lanes / warp_lanes; ++w) x = f(x, of_warp[w]);
    __syncthreads();  // before the next fold writes
    return x;
  }
};

template <class Kernel>
__global__ void __launch_bounds__(warp_lanes* rows_per_block) rows_by_warps(index_type n, const Kernel kernel) {
  const index_type r = static_cast<index_type>(blockIdx.x) * rows_per_block + threadIdx.y;
  if (r < n) kernel(warp_team{}, r);
}
template <class Kernel>
__global__ void __launch_bounds__(block_lanes) rows_by_blocks(const Kernel kernel) {
  __shared__ double shared[block_lanes / warp_lanes];
  kernel(block_team{shared}, static_cast<index_type>(blockIdx.x));
}

#if defined(__CUDACC__)
/// kernel(team, r) for r in [0, n), rows of `width` elements.
template <class Kernel>
void launch_rows(cudaStream_t stream, index_type n, index_type width, const Kernel& kernel) {
  constexpr index_type long_row = 1024;
  if (n == 0) return;
  if (width > long_row)
    rows_by_blocks<<<static_cast<unsigned>(n), block_lanes, 0, stream>>>(kernel);
  else
    rows_by_warps<<<static_cast<unsigned>((n + rows_per_block - 1) / rows_per_block), dim3(warp_lanes, rows_per_block),
                    0, stream>>>(n, kernel);
  check(cudaGetLastError(), "kernel");
}
#endif

}  // namespace detail
}  // namespace NEGOOD_CUDA_ABI
}  // namespace negood::thrust_backend

#endif
