/// \file random.hpp  Counter-based random numbers: every draw is a pure function of (seed, purpose, index, lane).
///
/// There is no global generator and no hidden state, so a draw does not depend on threads, batch sizes, resumption or
/// on what else was drawn before it. The function is Philox4x32-10 (Salmon, Moraes, Dror and Shaw, "Parallel random
/// numbers: as easy as 1, 2, 3", SC 2011). The key is the seed; the counter is (block, purpose, index low, index high),
/// and lane `l` is word `l % 4` of block `l / 4`.
///
/// Integers, uniforms and permutations are the same on every machine. Normals go through `log`, `cos` and
/// `sqrt` of the C library in double precision and may differ in the last bit between C libraries.
#pragma once

#include <negood/error.hpp>

#include <array>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <utility>
#include <vector>

namespace negood {

/// What a draw is for: two purposes never share random numbers. The values are part of saved results, never reuse one.
enum class random_purpose : std::uint32_t {
  initialise_context = 1,   ///< context vectors before learning
  context_noise = 2,        ///< noise that breaks the symmetry between negative prompts
  shuffle = 3,              ///< order of the training rows in an epoch
  few_shot = 4,             ///< which training rows are kept
  augmentation = 5,         ///< which view of an image a step sees
  demonstration = 6,        ///< the demonstration's splits and pictures
  weights = 7,              ///< weights of towers and small networks
  text_training = 8,        ///< order and choice of captions
  bootstrap = 9,            ///< resampling for confidence intervals
  test = 10,                ///< generated test data
  crop = 11,                ///< random crops and flips that make the views
  inversion = 12,           ///< start values of pseudo-words
  inversion_template = 13,  ///< which template an image sees at a step
  stream = 14,              ///< order of a stream of test images
  super_category = 15,      ///< the word that CSP joins to an adjective
  label_group = 16          ///< which group of the training losses a negative label is in
};

/// One Philox4x32-10 block: four independent 32-bit words for a counter and a key.
constexpr std::array<std::uint32_t, 4> philox4x32(std::array<std::uint32_t, 4> counter,
                                                  std::array<std::uint32_t, 2> key) noexcept {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t p0 = std::uint64_t{0xD2511F53u} * counter[0];
    const std::uint64_t p1 = std::uint64_t{0xCD9E8D57u} * counter[2];
    counter = {static_cast<std::uint32_t>(p1 >> 32) ^ counter[1] ^ key[0], static_cast<std::uint32_t>(p1),
               static_cast<std::uint32_t>(p0 >> 32) ^ counter[3] ^ key[1], static_cast<std::uint32_t>(p0)};
    key[0] += 0x9E3779B9u;
    key[1] += 0xBB67AE85u;
  }
  return counter;
}

/// The four words of block `block` of the sequence (seed, purpose, index).
constexpr std::array<std::uint32_t, 4> random_block(std::uint64_t seed, random_purpose purpose, std::uint64_t index,
                                                    std::uint32_t block) noexcept {
  return philox4x32({block, static_cast<std::uint32_t>(purpose), static_cast<std::uint32_t>(index),
                     static_cast<std::uint32_t>(index >> 32)},
                    {static_cast<std::uint32_t>(seed), static_cast<std::uint32_t>(seed >> 32)});
}

/// 32 uniformly distributed bits; `lane` < 2^34.
constexpr std::uint32_t random_u32(std::uint64_t seed, random_purpose purpose, std::uint64_t index,
                                   std::uint64_t lane = 0) noexcept {
  return random_block(seed, purpose, index, static_cast<std::uint32_t>(lane / 4))[lane % 4];
}

namespace detail {
/// The double k * 2^-53 in [0, 1) from the high 53 of 64 bits.
constexpr double unit_interval(std::uint32_t high, std::uint32_t low) noexcept {
  return static_cast<double>(((std::uint64_t{high} << 32) | low) >> 11) * 0x1p-53;
}
/// Box and Muller (1958): sqrt(-2 ln(1 - u)) cos(2 pi v), for u and v in [0, 1); 1 - u is never zero.
inline double box_muller(double u, double v) noexcept {
  constexpr double two_pi = 6.283185307179586476925286766559;
  return std::sqrt(-2.0 * std::log(1.0 - u)) * std::cos(two_pi * v);
}
}  // namespace detail

/// A double in [0, 1), a multiple of 2^-53.
constexpr double uniform(std::uint64_t seed, random_purpose purpose, std::uint64_t index) noexcept {
  const auto words = random_block(seed, purpose, index, 0);
  return detail::unit_interval(words[0], words[1]);
}

/// A draw from the standard normal distribution; its magnitude is at most sqrt(106 ln 2) = 8.57.
inline double normal(std::uint64_t seed, random_purpose purpose, std::uint64_t index) noexcept {
  const auto words = random_block(seed, purpose, index, 0);
  return detail::box_muller(detail::unit_interval(words[0], words[1]), detail::unit_interval(words[2], words[3]));
}

/// One index for a pair, such as (image, view) or (epoch, class): minor < 2^24, major < 2^40.
/// Throws negood.random.1 outside that range.
inline std::uint64_t pair_index(std::uint64_t major, std::uint64_t minor) {
  if (major >= (std::uint64_t{1} << 40) || minor >= (std::uint64_t{1} << 24))
    fail(error_category::usage, "negood.random.1", "pair_index",
         "(" + std::to_string(major) + ", " + std::to_string(minor) + ") does not fit 40 + 24 bits");
  return (major << 24) | minor;
}

/// The sequence of draws that belongs to (seed, purpose, index), for code that needs an unknown number of them.
/// Copies continue independently from the same position. At most 2^34 words.
class random_sequence {
 public:
  random_sequence(std::uint64_t seed, random_purpose purpose, std::uint64_t index) noexcept
      : seed_(seed), index_(index), purpose_(purpose) {}

  std::uint32_t next_u32() noexcept {
    if (lane_ % 4 == 0) words_ = random_block(seed_, purpose_, index_, static_cast<std::uint32_t>(lane_ / 4));
    return words_[lane_++ % 4];
  }
  std::uint64_t next_u64() noexcept {
    const std::uint64_t high = next_u32();
    return (high << 32) | next_u32();
  }
  /// In [0, 1).
  double next_uniform() noexcept {
    const std::uint32_t high = next_u32();
    return detail::unit_interval(high, next_u32());
  }
  /// In [low, high), up to the rounding of the last operation.
  double next_uniform(double low, double high) noexcept { return low + (high - low) * next_uniform(); }
  double next_normal() noexcept {
    const double u = next_uniform();
    return detail::box_muller(u, next_uniform());
  }
  /// An integer in [0, bound) without bias (draws below 2^64 mod bound are rejected); bound > 0.
  std::uint64_t next_below(std::uint64_t bound) noexcept {
    const std::uint64_t rejected = (0 - bound) % bound;
    std::uint64_t draw = next_u64();
    while (draw < rejected) draw = next_u64();
    return draw % bound;
  }

 private:
  std::uint64_t seed_, index_, lane_ = 0;
  random_purpose purpose_;
  std::array<std::uint32_t, 4> words_{};
};

/// `count` different integers of [0, n) in random order, each ordered choice equally likely (Fisher and Yates, 1938).
/// The first j of them are the sample of size j: a larger few-shot set contains the smaller one.
/// Throws negood.random.2 unless 0 <= count <= n.
inline std::vector<index_type> sample_without_replacement(std::uint64_t seed, random_purpose purpose,
                                                          std::uint64_t index, index_type n, index_type count) {
  if (n < 0 || count < 0 || count > n)
    fail(error_category::usage, "negood.random.2", "sample_without_replacement",
         "cannot draw " + std::to_string(count) + " of " + std::to_string(n));
  std::vector<index_type> values(static_cast<std::size_t>(n));
  std::iota(values.begin(), values.end(), index_type{0});
  random_sequence draws(seed, purpose, index);
  for (index_type i = 0; i < count; ++i) {
    const auto j = i + static_cast<index_type>(draws.next_below(static_cast<std::uint64_t>(n - i)));
    std::swap(values[static_cast<std::size_t>(i)], values[static_cast<std::size_t>(j)]);
  }
  values.resize(static_cast<std::size_t>(count));
  return values;
}

/// The integers 0 ... n-1 in random order, every order equally likely.
inline std::vector<index_type> permutation(std::uint64_t seed, random_purpose purpose, std::uint64_t index,
                                           index_type n) {
  return sample_without_replacement(seed, purpose, index, n, n);
}

}  // namespace negood
