// bench_gpu.hpp on a CUDA device; ends with 77 where there is none.
#include "bench_gpu.hpp"

#include <negood/backend/thrust_cuda.hpp>

int main(int argc, char** argv) {
  using namespace negood;
  const auto arguments = bench_gpu::arguments::of(argc, argv);
  int count = 0;
  const cudaError_t status = cudaGetDeviceCount(&count);
  if (status != cudaSuccess || count == 0) {
    std::printf("skipped: no CUDA device (%s)\n", cudaGetErrorString(status));
    return 77;
  }
  cudaDeviceProp device{};
  cudaGetDeviceProperties(&device, 0);
  cudaMemPool_t pool;  // that tensors come from
  cudaDeviceGetDefaultMemPool(&pool, 0);
  const bench_gpu::machine here{device.name,
                                [pool] {
                                  std::uint64_t bytes = 0;
                                  cudaMemPoolGetAttribute(pool, cudaMemPoolAttrUsedMemHigh, &bytes);
                                  return 1e-9 * static_cast<double>(bytes);
                                },
                                [pool] {
                                  std::uint64_t none = 0;
                                  cudaMemPoolSetAttribute(pool, cudaMemPoolAttrUsedMemHigh, &none);
                                }};
  return bench_gpu::main_of(arguments, here, [](precision p) { return thrust_cuda::context<float>({.precision = p}); });
}
