#include "io_test.hpp"

#include <negood/io/half.hpp>
#include <negood/io/npy.hpp>

using namespace io_test;

namespace {

/// The value of a small float by its definition, apart from the bit moves of half.hpp.
double by_definition(unsigned bits, int exponent_bits, int fraction_bits) {
  const unsigned fraction = bits & ((1u << fraction_bits) - 1);
  const int exponent = static_cast<int>((bits >> fraction_bits) & ((1u << exponent_bits) - 1));
  const int bias = (1 << (exponent_bits - 1)) - 1;
  const double sign = bits >> 15 ? -1.0 : 1.0;
  if (exponent == (1 << exponent_bits) - 1) return fraction ? std::nan("") : sign * HUGE_VAL;
  if (exponent == 0) return sign * std::ldexp(fraction, 1 - bias - fraction_bits);
  return sign * std::ldexp((1u << fraction_bits) + fraction, exponent - bias - fraction_bits);
}

template <class Decode, class Encode>
unsigned wrong_patterns(int exponent_bits, int fraction_bits, Decode decode, Encode encode) {
  unsigned wrong = 0;
  const unsigned infinity = ((1u << exponent_bits) - 1) << fraction_bits;
  for (unsigned b = 0; b < 65536; ++b) {
    const auto bits = static_cast<std::uint16_t>(b);
    const double expected = by_definition(b, exponent_bits, fraction_bits), value = decode(bits);
    const std::uint16_t back = encode(value);
    if (std::isnan(expected)) {
      wrong += !std::isnan(value) || (back & 0x7fffu) <= infinity || (back >> 15) != (bits >> 15);
      continue;
    }
    wrong += !(value == expected && std::signbit(value) == std::signbit(expected)) || back != bits;
    // Between this number and the next: the tie goes to the even one, everything else to the nearer one.
    if ((b & 0x7fffu) >= infinity) continue;
    const double next = (b & 0x7fffu) + 1 == infinity ? std::copysign(std::ldexp(1.0, 1 << (exponent_bits - 1)), value)
                                                      : by_definition(b + 1, exponent_bits, fraction_bits);
    const double middle = value / 2 + next / 2;
    wrong += encode(middle) != (b % 2 == 0 ? b : b + 1);
    wrong += encode(std::nextafter(middle, value)) != b;
    wrong += encode(std::nextafter(middle, next)) != b + 1;
  }
  return wrong;
}

}  // namespace

TEST_CASE("half precision: all 65,536 patterns decode by definition, encode back, and round to nearest even") {
  CHECK(wrong_patterns(
            5, 10, [](std::uint16_t b) { return static_cast<double>(from_half_bits(b)); },
            [](double v) { return to_half_bits(v); }) == 0);
}

TEST_CASE("bfloat16: all 65,536 patterns decode by definition, encode back, and round to nearest even") {
  CHECK(wrong_patterns(
            8, 7, [](std::uint16_t b) { return static_cast<double>(from_bfloat16_bits(b)); },
            [](double v) { return to_bfloat16_bits(v); }) == 0);
}

TEST_CASE("half precision and bfloat16 round as numpy and torch do") {
  for (const std::string kind : {"half", "bfloat16"}) {
    const auto values = read_npy<double>(golden("npy/" + kind + "_values.npy"));
    const auto bits = read_npy<std::uint16_t>(golden("npy/" + kind + "_bits.npy"));
    REQUIRE(values.size() == bits.size());
    index_type wrong = 0;
    for (index_type i = 0; i < values.size(); ++i) {
      const double v = values.data()[i];
      wrong += (kind == "half" ? to_half_bits(v) : to_bfloat16_bits(v)) != bits.data()[i];
    }
    CHECK(values.size() > 1000);
    CHECK(wrong == 0);
  }
}
