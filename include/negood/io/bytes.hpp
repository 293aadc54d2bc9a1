/// \file bytes.hpp  Byte views, byte order, and arithmetic that notices overflow: what every reader is built from.
#pragma once

#include <negood/error.hpp>

#include <bit>
#include <cstdint>
#include <cstring>
#include <limits>
#include <optional>
#include <span>
#include <string_view>
#include <type_traits>
#include <vector>

namespace negood {

static_assert(std::endian::native == std::endian::little,
              "negood::io reads little-endian files with plain copies; a big-endian host needs swaps");

using byte_view = std::span<const std::uint8_t>;
using byte_vector = std::vector<std::uint8_t>;

/// What negood may allocate beyond the size of the file it reads, when the file does not itself hold that many bytes.
inline constexpr std::uint64_t allocation_allowance = std::uint64_t{64} << 20;

inline byte_view as_byte_view(std::string_view text) noexcept {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}
inline std::string_view as_text(byte_view bytes) noexcept {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

/// a + b, or nothing where the sum passes 2^64 - 1.
constexpr std::optional<std::uint64_t> checked_add(std::uint64_t a, std::uint64_t b) noexcept {
  if (a > std::numeric_limits<std::uint64_t>::max() - b) return std::nullopt;
  return a + b;
}

/// a * b, or nothing where the product passes 2^64 - 1.
constexpr std::optional<std::uint64_t> checked_mul(std::uint64_t a, std::uint64_t b) noexcept {
  if (b != 0 && a > std::numeric_limits<std::uint64_t>::max() / b) return std::nullopt;
  return a * b;
}

/// The value of type T at `p`, stored little-endian; `p` needs no alignment.
template <class T>
T load_le(const std::uint8_t* p) noexcept {
  static_assert(std::is_trivially_copyable_v<T>);
  T value;
  std::memcpy(&value, p, sizeof value);
  return value;
}

/// The unsigned value of type T at `p`, stored big-endian.
template <class T>
T load_be(const std::uint8_t* p) noexcept {
  static_assert(std::is_unsigned_v<T>);
  T value = 0;
  for (std::size_t i = 0; i < sizeof(T); ++i) value = static_cast<T>((std::uint64_t{value} << 8) | p[i]);
  return value;
}

template <class T>
void append_le(byte_vector& out, T value) {
  static_assert(std::is_trivially_copyable_v<T>);
  std::uint8_t raw[sizeof(T)];
  std::memcpy(raw, &value, sizeof value);
  out.insert(out.end(), raw, raw + sizeof raw);
}

/// Reverses the bytes of each `width`-byte element, in place.
inline void swap_elements(std::span<std::uint8_t> bytes, std::size_t width) noexcept {
  for (std::size_t at = 0; at + width <= bytes.size(); at += width)
    for (std::size_t i = 0; i < width / 2; ++i) std::swap(bytes[at + i], bytes[at + width - 1 - i]);
}

/// How many elements a shape holds, and the shape of its matrix form.
///
/// Rank 0 is `[1, 1]`, rank 1 `[n, 1]`, rank 2 as it is, above that `[shape[0], product of the rest]`.
struct matrix_shape {
  std::uint64_t elements = 1;
  index_type rows = 1;
  index_type cols = 1;
};

/// The matrix form of `shape`, or nothing where a product of its non-zero dimensions leaves 63 bits.
///
/// An empty tensor holds no bytes that would bound its other dimensions, so these may not pass 2^31: a loop over the
/// rows of `[2^60, 0]` would never end.
inline std::optional<matrix_shape> to_matrix_shape(std::span<const std::uint64_t> shape) noexcept {
  constexpr std::uint64_t limit = static_cast<std::uint64_t>(std::numeric_limits<index_type>::max());
  std::uint64_t magnitude = 1, rest = 1;
  bool empty = false, large = false;
  for (std::size_t i = 0; i < shape.size(); ++i) {
    const std::uint64_t d = shape[i];
    if (d == 0) {
      empty = true;
      if (i > 0) rest = 0;
      continue;
    }
    large = large || d > (std::uint64_t{1} << 31);
    const auto product = checked_mul(magnitude, d);
    if (!product || *product > limit) return std::nullopt;
    magnitude = *product;
    if (i > 0) rest *= d;
  }
  if (empty && large) return std::nullopt;
  matrix_shape out;
  out.elements = empty ? 0 : magnitude;
  out.rows = shape.empty() ? 1 : static_cast<index_type>(shape[0]);
  out.cols = shape.size() < 2 ? 1 : static_cast<index_type>(rest);
  return out;
}

}  // namespace negood
