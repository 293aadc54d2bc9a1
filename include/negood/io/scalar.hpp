/// \file scalar.hpp  The number types that stand in files, and their conversion into a host matrix's type.
#pragma once

#include <negood/io/bytes.hpp>
#include <negood/io/half.hpp>

#include <cmath>
#include <string>

namespace negood {

enum class scalar_type : std::uint8_t { f64, f32, f16, bf16, i64, i32, i16, i8, u64, u32, u16, u8, boolean, unknown };

/// Bytes of one element; 0 for `unknown`.
constexpr std::size_t scalar_size(scalar_type t) noexcept {
  switch (t) {
    case scalar_type::f64:
    case scalar_type::i64:
    case scalar_type::u64:
      return 8;
    case scalar_type::f32:
    case scalar_type::i32:
    case scalar_type::u32:
      return 4;
    case scalar_type::f16:
    case scalar_type::bf16:
    case scalar_type::i16:
    case scalar_type::u16:
      return 2;
    case scalar_type::i8:
    case scalar_type::u8:
    case scalar_type::boolean:
      return 1;
    case scalar_type::unknown:
      break;
  }
  return 0;
}

constexpr bool is_floating(scalar_type t) noexcept {
  return t == scalar_type::f64 || t == scalar_type::f32 || t == scalar_type::f16 || t == scalar_type::bf16;
}

/// The safetensors spelling, which the messages use for npy as well.
constexpr std::string_view scalar_name(scalar_type t) noexcept {
  constexpr std::string_view names[] = {"F64", "F32", "F16", "BF16", "I64", "I32",  "I16",
                                        "I8",  "U64", "U32", "U16",  "U8",  "BOOL", "unknown"};
  return names[static_cast<std::size_t>(t)];
}

/// The file type that holds a T without a change; `unknown` for other types.
template <class T>
constexpr scalar_type scalar_type_of() noexcept {
  if constexpr (std::is_same_v<T, double>) return scalar_type::f64;
  if constexpr (std::is_same_v<T, float>) return scalar_type::f32;
  if constexpr (std::is_same_v<T, bool>) return scalar_type::boolean;
  if constexpr (std::is_integral_v<T> && !std::is_same_v<T, bool>) {
    if constexpr (sizeof(T) == 8) return std::is_signed_v<T> ? scalar_type::i64 : scalar_type::u64;
    if constexpr (sizeof(T) == 4) return std::is_signed_v<T> ? scalar_type::i32 : scalar_type::u32;
    if constexpr (sizeof(T) == 2) return std::is_signed_v<T> ? scalar_type::i16 : scalar_type::u16;
    if constexpr (sizeof(T) == 1) return std::is_signed_v<T> ? scalar_type::i8 : scalar_type::u8;
  }
  return scalar_type::unknown;
}

namespace detail {

/// True where the integer `v` is a value of T (for a floating T: exactly one).
template <class T, class I>
constexpr bool integer_fits(I v) noexcept {
  if constexpr (std::is_floating_point_v<T>) {
    constexpr std::uint64_t exact = std::uint64_t{1} << std::numeric_limits<T>::digits;
    const std::uint64_t magnitude =
        std::is_signed_v<I> && v < 0 ? std::uint64_t{0} - static_cast<std::uint64_t>(v) : static_cast<std::uint64_t>(v);
    return magnitude == 0 || magnitude <= exact || (magnitude >> std::countr_zero(magnitude)) <= exact;
  } else if constexpr (std::is_signed_v<I>) {
    if (v < 0) {
      if constexpr (std::is_unsigned_v<T>)
        return false;
      else
        return static_cast<std::int64_t>(v) >= static_cast<std::int64_t>(std::numeric_limits<T>::min());
    }
    return static_cast<std::uint64_t>(v) <= static_cast<std::uint64_t>(std::numeric_limits<T>::max());
  } else {
    return static_cast<std::uint64_t>(v) <= static_cast<std::uint64_t>(std::numeric_limits<T>::max());
  }
}

template <class T, class I>
std::optional<std::size_t> convert_integers(const std::uint8_t* from, T* to, std::size_t count) noexcept {
  for (std::size_t i = 0; i < count; ++i) {
    const I v = load_le<I>(from + i * sizeof(I));
    if (!integer_fits<T>(v)) return i;
    to[i] = static_cast<T>(v);
  }
  return std::nullopt;
}

template <class T, class F, class Decode>
void convert_reals(const std::uint8_t* from, T* to, std::size_t count, Decode decode) noexcept {
  for (std::size_t i = 0; i < count; ++i) to[i] = static_cast<T>(decode(load_le<F>(from + i * sizeof(F))));
}

}  // namespace detail

/// True where values of file type `from` may become a T: reals to reals, integers to integers, and integers to reals.
template <class T>
constexpr bool convertible_to(scalar_type from) noexcept {
  return from != scalar_type::unknown && (std::is_floating_point_v<T> || !is_floating(from));
}

/// Converts `count` little-endian values at `from`; returns the first one that is no value of T, if there is one.
///
/// Reals convert to the nearest (a double beyond the float range becomes infinity, which feature checks then find);
/// integers must be exact. The caller has made sure of `convertible_to<T>(type)`.
template <class T>
std::optional<std::size_t> convert_scalars(scalar_type type, const std::uint8_t* from, T* to, std::size_t count) {
  const auto same = [](auto v) { return v; };
  if constexpr (std::is_floating_point_v<T>) {
    switch (type) {
      case scalar_type::f64:
        detail::convert_reals<T, double>(from, to, count, same);
        return std::nullopt;
      case scalar_type::f32:
        detail::convert_reals<T, float>(from, to, count, same);
        return std::nullopt;
      case scalar_type::f16:
        detail::convert_reals<T, std::uint16_t>(from, to, count, [](std::uint16_t b) { return from_half_bits(b); });
        return std::nullopt;
      case scalar_type::bf16:
        detail::convert_reals<T, std::uint16_t>(from, to, count, [](std::uint16_t b) { return from_bfloat16_bits(b); });
        return std::nullopt;
      default:
        break;
    }
  }
  switch (type) {
    case scalar_type::i64:
      return detail::convert_integers<T, std::int64_t>(from, to, count);
    case scalar_type::i32:
      return detail::convert_integers<T, std::int32_t>(from, to, count);
    case scalar_type::i16:
      return detail::convert_integers<T, std::int16_t>(from, to, count);
    case scalar_type::i8:
      return detail::convert_integers<T, std::int8_t>(from, to, count);
    case scalar_type::u64:
      return detail::convert_integers<T, std::uint64_t>(from, to, count);
    case scalar_type::u32:
      return detail::convert_integers<T, std::uint32_t>(from, to, count);
    case scalar_type::u16:
      return detail::convert_integers<T, std::uint16_t>(from, to, count);
    case scalar_type::u8:
      return detail::convert_integers<T, std::uint8_t>(from, to, count);
    case scalar_type::boolean:
      for (std::size_t i = 0; i < count; ++i) {
        if (from[i] > 1) return i;
        to[i] = static_cast<T>(from[i]);
      }
      return std::nullopt;
    default:
      break;
  }
  return std::size_t{0};
}

/// Appends the values in file type `to`, little-endian; reals round to nearest even, integers go only to their own
/// type.
template <class T>
void append_scalars(byte_vector& out, std::span<const T> values, scalar_type to) {
  if (to == scalar_type_of<T>()) {
    if constexpr (std::is_same_v<T, bool>) {
      for (const bool v : values) out.push_back(v ? 1 : 0);
    } else {
      const auto* raw = reinterpret_cast<const std::uint8_t*>(values.data());
      out.insert(out.end(), raw, raw + values.size() * sizeof(T));
    }
    return;
  }
  if constexpr (std::is_floating_point_v<T>) {
    switch (to) {
      case scalar_type::f64:
        for (const T v : values) append_le(out, static_cast<double>(v));
        return;
      case scalar_type::f32:
        for (const T v : values) append_le(out, static_cast<float>(v));
        return;
      case scalar_type::f16:
        for (const T v : values) append_le(out, to_half_bits(static_cast<double>(v)));
        return;
      case scalar_type::bf16:
        for (const T v : values) append_le(out, to_bfloat16_bits(static_cast<double>(v)));
        return;
      default:
        break;
    }
  }
  fail(error_category::usage, "negood.io.10", "append_scalars",
       std::string(scalar_name(scalar_type_of<T>())) + " values cannot be stored as " + std::string(scalar_name(to)));
}

}  // namespace negood
