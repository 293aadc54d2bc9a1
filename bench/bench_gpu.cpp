// bench_gpu.hpp on the processor's threads: what a machine without a device can run of it.
#include "bench_gpu.hpp"

#include <negood/backend/thrust_omp.hpp>

#include <sys/resource.h>

int main(int argc, char** argv) {
  using namespace negood;
  const auto arguments = bench_gpu::arguments::of(argc, argv);
  const bench_gpu::machine here{"processor, OpenMP",
                                [] {
                                  rusage u{};
                                  getrusage(RUSAGE_SELF, &u);
                                  return 1e-6 * static_cast<double>(u.ru_maxrss);  // since the program began
                                },
                                [] {}};
  return bench_gpu::main_of(arguments, here, [](precision p) { return thrust_omp::context<float>({.precision = p}); });
}
