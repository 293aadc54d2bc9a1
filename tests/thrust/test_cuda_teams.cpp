// The device's own code of warps and blocks, run by threads: folds meet in the right lanes, give every lane the same
// bytes, and rows come out as one lane computes them.
#define NEGOOD_EMULATED_CUDA
#include "emulated_cuda.hpp"

#include <negood/backend/kernels/attention.hpp>
#include <negood/backend/kernels/order.hpp>
#include <negood/backend/thrust/cuda_teams.hpp>

#include <cmath>

#include "catch.hpp"

using namespace negood;
using namespace negood::thrust_backend::detail;

namespace {

std::vector<float> drawn(index_type n, std::uint64_t state) {
  std::vector<float> out(static_cast<std::size_t>(n));
  for (float& x : out) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    x = static_cast<float>(static_cast<double>(state >> 40) / 4194304.0 - 2);
  }
  return out;
}

template <class Kernel>
void by_warps(index_type n, const Kernel& kernel) {
  emulated_cuda::launch((n + rows_per_block - 1) / rows_per_block,
                        {static_cast<unsigned>(warp_lanes), static_cast<unsigned>(rows_per_block)},
                        [&] { rows_by_warps(n, kernel); });
}
template <class Kernel>
void by_blocks(index_type n, const Kernel& kernel) {
  emulated_cuda::launch(n, {static_cast<unsigned>(block_lanes), 1}, [&] { rows_by_blocks(kernel); });
}

/// What every lane gets from two folds, one after the other.
struct fold_twice {
  const float* values;
  float* sums;
  std::uint32_t* largest;
  template <class Team>
  void operator()(const Team& team, index_type r) const {
    const index_type i = r * team.lanes() + team.lane();
    sums[i] = team.fold(reduction::sum{}, values[i]);
    largest[i] = team.fold(reduction::maximum{}, kernel::ordered_key(values[i]));
  }
};

template <class Launch>
void check_folds(index_type rows, index_type lanes, Launch launch) {
  const auto values = drawn(rows * lanes, 1);
  std::vector<float> sums(values.size());
  std::vector<std::uint32_t> largest(values.size());
  launch(rows, fold_twice{values.data(), sums.data(), largest.data()});
  for (index_type r = 0; r < rows; ++r) {
    double sum = 0;
    std::uint32_t top = 0;
    for (index_type i = r * lanes; i < (r + 1) * lanes; ++i) {
      sum += double(values[static_cast<std::size_t>(i)]);
      top = std::max(top, kernel::ordered_key(values[static_cast<std::size_t>(i)]));
    }
    bool same = true, right = true;
    for (index_type i = r * lanes; i < (r + 1) * lanes; ++i) {
      const auto at = static_cast<std::size_t>(i);
      same = same && std::memcmp(&sums[at], &sums[static_cast<std::size_t>(r * lanes)], sizeof(float)) == 0;
      right = right && std::abs(double(sums[at]) - sum) < 1e-4 && largest[at] == top;
    }
    CHECK(same);
    CHECK(right);
  }
}

template <class Launch, class KernelOnto>
void check_rows(index_type rows, std::size_t size, Launch launch, KernelOnto kernel_onto) {
  std::vector<float> wanted(size), got(size), again(size);
  const auto alone = kernel_onto(wanted.data());
  for (index_type r = 0; r < rows; ++r) alone(kernel::one_lane{}, r);
  launch(rows, kernel_onto(got.data()));
  launch(rows, kernel_onto(again.data()));
  float worst = 0;
  for (std::size_t i = 0; i < size; ++i) worst = std::max(worst, std::abs(got[i] - wanted[i]));
  CHECK(worst < 2e-6F);
  CHECK(got == again);
}

}  // namespace

TEST_CASE("every lane of a warp and of a block gets the same fold", "[thrust]") {
  check_folds(6, warp_lanes, [](index_type n, const auto& k) { by_warps(n, k); });
  check_folds(2, block_lanes, [](index_type n, const auto& k) { by_blocks(n, k); });
}

TEST_CASE("warps and blocks compute rows as one lane does", "[thrust]") {
  const auto warps = [](index_type n, const auto& k) { by_warps(n, k); };
  const auto blocks = [](index_type n, const auto& k) { by_blocks(n, k); };
  constexpr index_type rows = 5;
  for (const index_type d : {1, 40, 300}) {
    CAPTURE(d);
    const auto z = drawn(rows * d, 2), gain = drawn(d, 3), bias = drawn(d, 4);
    const auto matrix = static_cast<std::size_t>(rows * d);
    const auto softmax = [&](float* out) { return kernel::softmax_row<float>{z.data(), d, out}; };
    check_rows(rows, matrix, warps, softmax);
    check_rows(2, matrix, blocks, softmax);
    const auto norm = [&](float* out) {
      return kernel::layer_norm_row<float>{z.data(), gain.data(), bias.data(), d, 1e-5F, out};
    };
    check_rows(rows, matrix, warps, norm);
    check_rows(2, matrix, blocks, norm);
  }
}

TEST_CASE("warps compute attention as one lane does", "[thrust]") {
  const auto layout = ragged_rows::of_lengths(std::vector<index_type>{3, 2});
  const auto ranges = kernel::visibility::of(layout, true, false, false);
  const index_type heads = 2, width = 40, d = heads * width, n = layout.rows(), prefix = 2;
  const auto q = drawn(n * d, 6), kv = drawn(n * 2 * d, 7), p = drawn(prefix * 2 * d, 8);
  const kernel::attention_operands<float> in{q.data(),
                                             kv.data(),
                                             p.data(),
                                             n,
                                             prefix,
                                             d,
                                             heads,
                                             width,
                                             1 / std::sqrt(static_cast<float>(width)),
                                             ranges.first_key.data(),
                                             ranges.end_key.data()};
  check_rows(
      n * heads, static_cast<std::size_t>(n * d), [](index_type rows, const auto& k) { by_warps(rows, k); },
      [&](float* out) {
        return kernel::attention_query<float>{in, out};
      });
}
