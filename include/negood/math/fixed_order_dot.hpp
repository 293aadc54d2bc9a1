/// \file fixed_order_dot.hpp  Dot products in double whose sum has one order everywhere, quick enough for whole
/// corpora.
#pragma once

#include <negood/config.hpp>

#include <array>
#include <cstddef>
#include <span>

namespace negood {

/// <a, b> in double: entry d goes to sum d mod 32, and the 32 sums are added by halves. The order depends on the width
/// alone, and products of two floats are exact in double, so with floats the bytes are the same on every machine.
template <class A, class B>
double fixed_order_dot(std::span<const A> a, std::span<const B> b) {
  constexpr std::size_t lanes = 32;
  std::array<double, lanes> sum{};
  std::size_t d = 0;
  for (; d + lanes <= a.size(); d += lanes)
    for (std::size_t k = 0; k < lanes; ++k) sum[k] += static_cast<double>(a[d + k]) * static_cast<double>(b[d + k]);
  for (std::size_t k = 0; d < a.size(); ++d, ++k) sum[k] += static_cast<double>(a[d]) * static_cast<double>(b[d]);
  for (std::size_t half = lanes / 2; half > 0; half /= 2)
    for (std::size_t k = 0; k < half; ++k) sum[k] += sum[k + half];
  return sum[0];
}

}  // namespace negood
