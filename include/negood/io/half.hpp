/// \file half.hpp  IEEE half precision and bfloat16, as bits: exact to read, round-to-nearest-even to write.
#pragma once

#include <bit>
#include <cstdint>

namespace negood {

namespace detail {

/// Rounds a double once, to nearest even, into a sign, `ExponentBits` and `FractionBits` of fraction.
template <int ExponentBits, int FractionBits>
constexpr std::uint16_t round_to_small_float(double value) noexcept {
  constexpr int bias = (1 << (ExponentBits - 1)) - 1;
  constexpr std::uint64_t infinity = ((std::uint64_t{1} << ExponentBits) - 1) << FractionBits;
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(value);
  const std::uint64_t sign = (bits >> 63) << (ExponentBits + FractionBits);
  const int exponent = static_cast<int>((bits >> 52) & 0x7ff);
  const std::uint64_t fraction = bits & ((std::uint64_t{1} << 52) - 1);
  if (exponent == 0x7ff) {
    if (fraction == 0) return static_cast<std::uint16_t>(sign | infinity);
    // A NaN keeps its leading payload bits and stays quiet.
    return static_cast<std::uint16_t>(sign | infinity | (fraction >> (52 - FractionBits)) |
                                      (std::uint64_t{1} << (FractionBits - 1)));
  }
  if (exponent == 0) return static_cast<std::uint16_t>(sign);  // a double subnormal lies below every half of a ulp here
  const int e = exponent - 1023;
  const int stored = e + bias;  // the small float's exponent field, if it is normal
  const std::uint64_t significand = fraction | (std::uint64_t{1} << 52);
  const int drop = (52 - FractionBits) + (stored >= 1 ? 0 : 1 - stored);
  if (drop > 53) return static_cast<std::uint16_t>(sign);
  const std::uint64_t kept = significand >> drop;
  const std::uint64_t left = significand & ((std::uint64_t{1} << drop) - 1);
  const std::uint64_t half = std::uint64_t{1} << (drop - 1);
  const std::uint64_t up = (left > half || (left == half && (kept & 1) != 0)) ? 1 : 0;
  // A carry out of the fraction moves into the exponent, which is the value wanted; out of the top it is infinity.
  std::uint64_t magnitude = kept + up;
  if (stored >= 1) {
    if (stored > 2 * bias) return static_cast<std::uint16_t>(sign | infinity);
    magnitude += static_cast<std::uint64_t>(stored - 1) << FractionBits;
  }
  return static_cast<std::uint16_t>(sign | (magnitude > infinity ? infinity : magnitude));
}

}  // namespace detail

/// The bits of the half-precision number nearest to `value`, ties to even; beyond 65519.99… it is infinity.
constexpr std::uint16_t to_half_bits(double value) noexcept { return detail::round_to_small_float<5, 10>(value); }

/// The bits of the bfloat16 number nearest to `value`, ties to even, rounded once also from double.
constexpr std::uint16_t to_bfloat16_bits(double value) noexcept { return detail::round_to_small_float<8, 7>(value); }

/// The half-precision number with these bits; every one is exact in float.
constexpr float from_half_bits(std::uint16_t bits) noexcept {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000u) << 16;
  const std::uint32_t exponent = (bits >> 10) & 0x1fu;
  const std::uint32_t fraction = bits & 0x3ffu;
  if (exponent == 0x1f) return std::bit_cast<float>(sign | 0x7f800000u | (fraction << 13));
  if (exponent != 0) return std::bit_cast<float>(sign | ((exponent + 112u) << 23) | (fraction << 13));
  // A subnormal is fraction * 2^-24, and both factors are exact in float.
  const float magnitude = static_cast<float>(fraction) * 0x1p-24f;
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(magnitude));
}

/// The bfloat16 number with these bits: the upper half of a float.
constexpr float from_bfloat16_bits(std::uint16_t bits) noexcept {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

}  // namespace negood
