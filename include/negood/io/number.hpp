/// \file number.hpp  Numbers as text, the same under every locale: std::from_chars and std::to_chars only.
#pragma once

#include <negood/error.hpp>

#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>
#include <type_traits>

namespace negood {

/// The number that `text` spells from its first to its last character, or nothing.
///
/// No blanks, no leading plus, no thousands marks, a decimal point and never a comma; out of range is nothing, and so
/// are "nan" and "inf", which no negood file may hold as a number.
template <class T>
std::optional<T> parse_number(std::string_view text) noexcept {
  T value{};
  const auto [end, problem] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (problem != std::errc{} || end != text.data() + text.size() || text.empty()) return std::nullopt;
  if constexpr (std::is_floating_point_v<T>)
    if (!std::isfinite(value)) return std::nullopt;
  return value;
}

/// The shortest text that `parse_number` reads back as the same value; NaN and infinities are "nan", "inf", "-inf".
template <class T>
std::string format_number(T value) {
  char buffer[64];
  const auto [end, problem] = std::to_chars(buffer, buffer + sizeof buffer, value);
  return problem == std::errc{} ? std::string(buffer, end) : std::string();
}

/// `digits` digits after the point, for tables: 0.9 with 2 is "0.90".
inline std::string format_fixed(double value, int digits) {
  char buffer[512];  // the largest double has 309 digits before the point
  const auto [end, problem] = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed, digits);
  if (problem != std::errc{})
    fail(error_category::usage, "negood.number.1", "format_fixed", std::to_string(digits) + " digits are too many");
  return std::string(buffer, end);
}

/// 17 significant digits: every double survives, and columns of a report line up.
inline std::string format_exact(double value) {
  char buffer[64];
  const auto [end, problem] = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::general, 17);
  return problem == std::errc{} ? std::string(buffer, end) : std::string();
}

}  // namespace negood
