// Counter-based random numbers: known answers of Philox4x32-10, independence of calls, unbiased orders.
#include <negood/train/random.hpp>

#include "catch.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <map>
#include <set>
#include <vector>

using namespace negood;

namespace {
using block = std::array<std::uint32_t, 4>;
constexpr auto purpose = random_purpose::test;
}  // namespace

TEST_CASE("philox4x32-10 gives the published known answers", "[random]") {
  // The three vectors published with the generator (kat_vectors of Random123).
  CHECK(philox4x32({0, 0, 0, 0}, {0, 0}) == block{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8});
  constexpr std::uint32_t ones = 0xffffffffu;
  CHECK(philox4x32({ones, ones, ones, ones}, {ones, ones}) == block{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd});
  CHECK(philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}) ==
        block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  static_assert(philox4x32({0, 0, 0, 0}, {0, 0})[0] == 0x6627e8d5u, "usable in constant expressions");
}

TEST_CASE("seed, purpose, index and lane each select different numbers", "[random]") {
  // The counter and the key are laid out as the header says, so results written by one version stay reproducible.
  CHECK(random_block(0x299f31d0a4093822u, static_cast<random_purpose>(0x85a308d3u), 0x0370734413198a2eu, 0x243f6a88) ==
        block{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1});
  std::set<std::uint32_t> seen;
  for (std::uint64_t seed : {std::uint64_t{1}, std::uint64_t{2}, std::uint64_t{1} << 32})
    for (auto p : {random_purpose::shuffle, random_purpose::few_shot})
      for (std::uint64_t index : {std::uint64_t{0}, std::uint64_t{1}, std::uint64_t{1} << 32})
        for (std::uint64_t lane = 0; lane < 9; ++lane) seen.insert(random_u32(seed, p, index, lane));
  CHECK(seen.size() == 3u * 2 * 3 * 9);
}

TEST_CASE("a sequence yields the lanes in order", "[random]") {
  random_sequence draws(7, purpose, 3);
  for (std::uint64_t lane = 0; lane < 41; ++lane) REQUIRE(draws.next_u32() == random_u32(7, purpose, 3, lane));
  random_sequence first(7, purpose, 3);
  CHECK(first.next_uniform() == uniform(7, purpose, 3));
  random_sequence second(7, purpose, 3);
  CHECK(second.next_normal() == normal(7, purpose, 3));
}

TEST_CASE("uniforms and normals have their moments", "[random]") {
  const int n = 200000;
  double mean = 0, square = 0, low = 1, high = 0;
  double normal_mean = 0, normal_square = 0, normal_cube = 0, normal_fourth = 0;
  for (int i = 0; i < n; ++i) {
    const double u = uniform(11, purpose, static_cast<std::uint64_t>(i));
    REQUIRE((u >= 0 && u < 1));
    mean += u / n;
    square += u * u / n;
    low = std::min(low, u);
    high = std::max(high, u);
    const double z = normal(11, purpose, static_cast<std::uint64_t>(i));
    normal_mean += z / n;
    normal_square += z * z / n;
    normal_cube += z * z * z / n;
    normal_fourth += z * z * z * z / n;
  }
  // Five standard errors each.
  CHECK(std::abs(mean - 0.5) < 5 * std::sqrt(1.0 / 12 / n));
  CHECK(std::abs(square - 1.0 / 3) < 5 * std::sqrt(4.0 / 45 / n));
  CHECK(low < 1e-4);
  CHECK(high > 1 - 1e-4);
  CHECK(std::abs(normal_mean) < 5 * std::sqrt(1.0 / n));
  CHECK(std::abs(normal_square - 1) < 5 * std::sqrt(2.0 / n));
  CHECK(std::abs(normal_cube) < 5 * std::sqrt(15.0 / n));
  CHECK(std::abs(normal_fourth - 3) < 5 * std::sqrt(96.0 / n));
}

TEST_CASE("the normal's input never makes it infinite", "[random]") {
  CHECK(std::isfinite(detail::box_muller(0.0, 0.0)));
  CHECK(detail::box_muller(0.0, 0.0) == 0.0);
  CHECK(detail::box_muller(1 - 0x1p-53, 0.0) == Approx(std::sqrt(106 * std::log(2.0))));
  CHECK(detail::unit_interval(0xffffffffu, 0xffffffffu) == 1 - 0x1p-53);
  CHECK(detail::unit_interval(0, 0x7ff) == 0.0);
  CHECK(detail::unit_interval(0, 0x800) == 0x1p-53);
}

TEST_CASE("all orders of three are equally likely", "[random]") {
  std::map<std::vector<index_type>, int> counts;
  const int trials = 60000;
  for (int t = 0; t < trials; ++t) ++counts[permutation(5, random_purpose::shuffle, static_cast<std::uint64_t>(t), 3)];
  REQUIRE(counts.size() == 6);
  double chi_square = 0;
  for (const auto& entry : counts) chi_square += std::pow(entry.second - trials / 6.0, 2) / (trials / 6.0);
  CHECK(chi_square < 20.5);  // 5 degrees of freedom, 0.1 %
}

TEST_CASE("bounded integers reject the biased tail", "[random]") {
  // With bound 3 * 2^62 a modulus would give the lowest quarter twice as often; count the thirds instead.
  const std::uint64_t third = std::uint64_t{1} << 62;
  std::array<int, 3> counts{};
  random_sequence draws(9, purpose, 0);
  for (int i = 0; i < 30000; ++i) ++counts[draws.next_below(3 * third) / third];
  for (int count : counts) CHECK(std::abs(count - 10000) < 5 * 82);
  CHECK(draws.next_below(1) == 0);
}

TEST_CASE("samples are distinct and nested, permutations complete", "[random]") {
  auto all = permutation(1, random_purpose::few_shot, 4, 1000);
  const auto sixteen = sample_without_replacement(1, random_purpose::few_shot, 4, 1000, 16);
  CHECK(std::equal(sixteen.begin(), sixteen.end(), all.begin()));
  CHECK(all != permutation(1, random_purpose::few_shot, 5, 1000));
  CHECK(all != permutation(2, random_purpose::few_shot, 4, 1000));
  std::sort(all.begin(), all.end());
  for (index_type i = 0; i < 1000; ++i) REQUIRE(all[static_cast<std::size_t>(i)] == i);
  CHECK(permutation(1, random_purpose::few_shot, 4, 0).empty());
  CHECK(sample_without_replacement(1, random_purpose::few_shot, 4, 3, 0).empty());
  CHECK_THROWS_AS(sample_without_replacement(1, random_purpose::few_shot, 4, 3, 4), error);
  CHECK_THROWS_AS(sample_without_replacement(1, random_purpose::few_shot, 4, -1, 0), error);
}

TEST_CASE("pairs map to different indices, and too large ones are refused", "[random]") {
  CHECK(pair_index(1, 0) != pair_index(0, 1));
  CHECK(pair_index((std::uint64_t{1} << 40) - 1, (1u << 24) - 1) == ~std::uint64_t{0});
  try {
    pair_index(0, 1u << 24);
    FAIL("accepted");
  } catch (const error& e) {
    CHECK(e.code() == "negood.random.1");
  }
}
