/// \file number.hpp  Numbers as text, the same in every locale (F-47).
#pragma once

#include <charconv>
#include <string>

namespace negood::text {

/// With `digits` significant digits, as printf's %g in the C locale; 17 give the same double back.
inline std::string significant(double value, int digits = 17) {
  char buffer[64];
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::general, digits).ptr;
  return {buffer, end};
}

/// With `decimals` places after the point. Meant for values of ordinary size: per cents, seconds, megabytes.
inline std::string fixed(double value, int decimals = 2) {
  char buffer[400];  // the largest double has 309 digits before the point
  const auto end = std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::fixed, decimals).ptr;
  return {buffer, end};
}

}  // namespace negood::text
