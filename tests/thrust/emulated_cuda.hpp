/// \file emulated_cuda.hpp  As much of CUDA as the teams of cuda_teams.hpp use, by threads of the processor: a block at
/// a time, a thread for each of its threads. Include it before, and only in one source.
#pragma once

#include <negood/config.hpp>

#include <barrier>
#include <cstring>
#include <memory>
#include <thread>
#include <vector>

namespace emulated_cuda {

using negood::index_type;

struct position {
  unsigned x = 0, y = 0;
};
inline constexpr int lanes_of_warp = 32;

/// Where the threads of a block meet.
struct block {
  explicit block(int threads) : gate(threads), values(static_cast<std::size_t>(threads)) {
    for (int w = 0; w < threads / lanes_of_warp; ++w) warps.push_back(std::make_unique<std::barrier<>>(lanes_of_warp));
  }
  std::barrier<> gate;
  std::vector<std::unique_ptr<std::barrier<>>> warps;
  std::vector<double> values;
};
inline thread_local block* here = nullptr;
inline thread_local int number = 0;  ///< of this thread in its block

}  // namespace emulated_cuda

inline thread_local emulated_cuda::position threadIdx, blockIdx;
#define __device__
#define __global__
#define __launch_bounds__(threads)
#define __shared__ static

template <class T>
T __shfl_xor_sync(unsigned, T x, int step) {
  using namespace emulated_cuda;
  auto& gate = *here->warps[static_cast<std::size_t>(number / lanes_of_warp)];
  std::memcpy(&here->values[static_cast<std::size_t>(number)], &x, sizeof(T));
  gate.arrive_and_wait();
  std::memcpy(&x, &here->values[static_cast<std::size_t>(number ^ step)], sizeof(T));
  gate.arrive_and_wait();
  return x;
}
inline void __syncthreads() { emulated_cuda::here->gate.arrive_and_wait(); }

namespace emulated_cuda {

/// kernel() by every thread of every block, one block after the other.
template <class Kernel>
void launch(index_type blocks, position shape, const Kernel& kernel) {
  const int count = static_cast<int>(shape.x * shape.y);
  for (index_type b = 0; b < blocks; ++b) {
    block meeting(count);
    std::vector<std::thread> threads;
    for (int i = 0; i < count; ++i)
      threads.emplace_back([&, i] {
        here = &meeting;
        number = i;
        threadIdx = {static_cast<unsigned>(i) % shape.x, static_cast<unsigned>(i) / shape.x};
        blockIdx = {static_cast<unsigned>(b), 0};
        kernel();
      });
    for (std::thread& t : threads) t.join();
  }
}

}  // namespace emulated_cuda
