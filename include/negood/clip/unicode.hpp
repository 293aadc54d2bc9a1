/// \file unicode.hpp  The little of Unicode that the tokenizer needs: UTF-8, letters, numbers, white space, lower case.
#pragma once

#include <negood/clip/unicode_tables.hpp>
#include <negood/config.hpp>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace negood::unicode {

namespace detail {
template <class Table>
constexpr bool contains(const Table& ranges, char32_t c) noexcept {
  const auto after = std::upper_bound(ranges.begin(), ranges.end(), c,
                                      [](char32_t value, const auto& range) { return value < range.first; });
  return after != ranges.begin() && c <= std::prev(after)->last;
}
}  // namespace detail

/// General category L (as `\p{L}`).
constexpr bool is_letter(char32_t c) noexcept {
  if (c < 0x80) return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
  return detail::contains(negood::detail::letter_ranges, c);
}

/// General category N (as `\p{N}`): digits, and also fractions, superscripts and Roman numerals.
constexpr bool is_number(char32_t c) noexcept {
  if (c < 0x80) return c >= '0' && c <= '9';
  return detail::contains(negood::detail::number_ranges, c);
}

/// The White_Space property (as `\s`).
constexpr bool is_space(char32_t c) noexcept {
  return c == ' ' || (c >= 9 && c <= 13) || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
         c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

/// The single-character lower case of one code point.
constexpr char32_t to_lower(char32_t c) noexcept {
  if (c < 0x80) return c >= 'A' && c <= 'Z' ? c + 32 : c;
  const auto& runs = negood::detail::lower_runs;
  const auto after =
      std::upper_bound(runs.begin(), runs.end(), c, [](char32_t value, const auto& run) { return value < run.first; });
  if (after == runs.begin()) return c;
  const auto run = *std::prev(after);
  if (c > run.last || (c - run.first) % run.stride != 0) return c;
  return static_cast<char32_t>(static_cast<std::int64_t>(c) + run.delta);
}

/// Lower case of a text. The dotted capital I becomes two characters, and a capital sigma that ends a word the final
/// sigma (a word's end is judged by the letters of European scripts, apostrophes, points and combining accents, not by
/// the full rule).
inline std::u32string to_lower(std::u32string_view text) {
  const auto ignorable = [](char32_t c) {
    return c == '\'' || c == '.' || c == ':' || c == 0xAD || c == 0xB7 || c == 0x2019 || (c >= 0x300 && c <= 0x36F);
  };
  const auto cased = [](char32_t c) { return (c < 0x590 || (c >= 0x1E00 && c <= 0x1FFF)) && is_letter(c); };
  const auto final_sigma = [&](std::size_t at) {
    std::size_t before = at;
    while (before > 0 && ignorable(text[before - 1])) --before;
    if (before == 0 || !cased(text[before - 1])) return false;
    std::size_t after = at + 1;
    while (after < text.size() && ignorable(text[after])) ++after;
    return after == text.size() || !cased(text[after]);
  };
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == 0x130)
      out += U"i\u0307";
    else if (text[i] == 0x3A3)
      out += final_sigma(i) ? char32_t{0x3C2} : char32_t{0x3C3};
    else
      out += to_lower(text[i]);
  }
  return out;
}

/// Decodes UTF-8 into `out`. Returns the offset of the first byte that is not part of a valid, shortest-form sequence
/// of a Unicode scalar value, or nothing if the text is valid.
inline std::optional<std::size_t> decode_utf8(std::string_view text, std::u32string& out) {
  out.clear();
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = [&](std::size_t j) { return static_cast<unsigned char>(text[j]); };
    const unsigned char lead = byte(i);
    if (lead < 0x80) {
      out += lead;
      ++i;
      continue;
    }
    const std::size_t length = lead >= 0xF0 ? 4 : lead >= 0xE0 ? 3 : 2;
    if (lead < 0xC2 || lead > 0xF4 || i + length > text.size()) return i;
    char32_t code = lead & (0xFFu >> (length + 1));
    for (std::size_t j = i + 1; j < i + length; ++j) {
      if ((byte(j) & 0xC0) != 0x80) return i;
      code = code << 6 | (byte(j) & 0x3Fu);
    }
    const bool shortest = length == 2 || code >= (length == 3 ? 0x800u : 0x10000u);
    if (!shortest || (code >= 0xD800 && code <= 0xDFFF) || code > 0x10FFFF) return i;
    out += code;
    i += length;
  }
  return std::nullopt;
}

/// Appends one scalar value as UTF-8.
inline void append_utf8(std::string& out, char32_t code) {
  const auto put = [&](char32_t value) { out += static_cast<char>(static_cast<unsigned char>(value)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xC0 | code >> 6);
    put(0x80 | (code & 0x3F));
  } else if (code < 0x10000) {
    put(0xE0 | code >> 12);
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  } else {
    put(0xF0 | code >> 18);
    put(0x80 | (code >> 12 & 0x3F));
    put(0x80 | (code >> 6 & 0x3F));
    put(0x80 | (code & 0x3F));
  }
}

}  // namespace negood::unicode
