// Rate of products with a constant matrix on the Eigen backend, by shape, number of rows and precision.
//
// bench_product [THREADS]: best and median of repeated calls, in GFLOP/s of the product itself (a bf16x3 product counts
// once, not three times). One JSON object a line.

#include <negood/backend/eigen.hpp>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>

namespace {

using negood::index_type;
using clock_type = std::chrono::steady_clock;

double seconds_since(clock_type::time_point start) {
  return std::chrono::duration<double>(clock_type::now() - start).count();
}

negood::host_matrix<float> some_values(index_type rows, index_type cols) {
  negood::host_matrix<float> m(rows, cols);
  std::uint32_t state = 1;
  for (float& x : m.values()) {
    state = state * 1664525u + 1013904223u;
    x = static_cast<float>(state >> 8) / 8388608.0f - 1.0f;
  }
  return m;
}

}  // namespace

int main(int argc, char** argv) {
  const index_type threads = argc > 1 ? std::max(1, std::atoi(argv[1])) : 1;
  struct shape {
    index_type in, out;
  };
  constexpr shape shapes[] = {{512, 512}, {512, 1024}, {512, 1536}, {512, 2048}, {2048, 512}, {768, 3072}, {3072, 768}};
  constexpr index_type row_counts[] = {1, 32, 64, 256, 1024};
  for (const negood::precision p : {negood::precision::f32, negood::precision::bf16x3, negood::precision::bf16}) {
    negood::eigen::context<float> ctx({.threads = threads, .precision = p});
    if (ctx.precision() != p) continue;
    for (const shape s : shapes) {
      const auto w = ctx.freeze(ctx.from_host(some_values(s.in, s.out).view()));
      for (const index_type rows : row_counts) {
        const auto x = ctx.from_host(some_values(rows, s.in).view());
        const double work = 2e-9 * static_cast<double>(rows * s.in * s.out);
        std::vector<double> times;
        double total = 0;
        while (times.size() < 5 || (total < 0.1 && times.size() < 2000)) {
          const auto start = clock_type::now();
          const auto y = ctx.matmul(x, w);
          times.push_back(seconds_since(start));
          total += times.back();
        }
        times.erase(times.begin());  // packs the matrix
        std::sort(times.begin(), times.end());
        std::printf(
            "{\"bench\": \"product\", \"precision\": \"%s\", \"in\": %lld, \"out\": %lld, \"rows\": %lld, \"threads\": "
            "%lld, "
            "\"best_gflops\": %.1f, \"median_gflops\": %.1f}\n",
            std::string(negood::format_precision(p)).c_str(), static_cast<long long>(s.in),
            static_cast<long long>(s.out), static_cast<long long>(rows), static_cast<long long>(threads),
            work / times.front(), work / times[times.size() / 2]);
      }
    }
  }
}
