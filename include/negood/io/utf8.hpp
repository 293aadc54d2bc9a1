/// \file utf8.hpp  Strict UTF-8: where a text stops being valid, and its code points.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace negood {

/// One decoded code point; `length` is 0 where the bytes are not valid UTF-8.
struct utf8_point {
  char32_t value = 0;
  std::size_t length = 0;
};

/// The code point at the start of `text`. Overlong forms, surrogates and values beyond U+10FFFF are not valid.
constexpr utf8_point decode_utf8(std::string_view text) noexcept {
  if (text.empty()) return {};
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned first = byte(0);
  if (first < 0x80) return {first, 1};
  const std::size_t length = first >= 0xf0 ? 4 : first >= 0xe0 ? 3 : 2;
  if (first < 0xc2 || first > 0xf4 || text.size() < length) return {};
  char32_t value = first & (0x7fu >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0u) != 0x80u) return {};
    value = (value << 6) | (byte(i) & 0x3fu);
  }
  constexpr char32_t smallest[] = {0, 0, 0x80, 0x800, 0x10000};
  if (value < smallest[length] || value > 0x10ffff || (value >= 0xd800 && value <= 0xdfff)) return {};
  return {value, length};
}

/// The offset of the first byte that is not part of valid UTF-8, or npos.
constexpr std::size_t find_invalid_utf8(std::string_view text) noexcept {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = decode_utf8(text.substr(at)).length;
    if (length == 0) return at;
    at += length;
  }
  return std::string_view::npos;
}

}  // namespace negood
