/// \file clean_text.hpp  What happens to a text before it is split into tokens: entities, quotes, spaces, case.
#pragma once

#include <negood/clip/unicode.hpp>
#include <negood/error.hpp>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <string_view>

namespace negood {

namespace detail {

/// The code point of a named character, or 0. `legacy` (written without semicolon): only the Latin-1 names count.
inline char32_t named_character_code(std::u32string_view name, bool legacy) {
  std::string ascii;
  for (const char32_t c : name) {
    if (c >= 0x80) return 0;
    ascii += static_cast<char>(c);
  }
  const auto at =
      std::lower_bound(named_characters.begin(), named_characters.end(), ascii,
                       [](const named_character& entry, const std::string& key) { return entry.name < key; });
  if (at == named_characters.end() || at->name != ascii) return 0;
  const bool latin = at->code < 256 && ascii != "apos";
  return legacy && !latin ? 0 : at->code;
}

/// What a numeric reference stands for; HTML reads 0x80-0x9F as Windows-1252 and drops control characters.
inline void append_numeric_reference(std::u32string& out, std::uint64_t code) {
  constexpr std::array<char16_t, 32> windows_1252{0x20AC, 0x81,   0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
                                                  0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D,   0x017D, 0x8F,
                                                  0x90,   0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
                                                  0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D,   0x017E, 0x0178};
  if (code >= 0x80 && code <= 0x9F) {
    out += windows_1252[code - 0x80];
  } else if (code == 0 || (code >= 0xD800 && code <= 0xDFFF) || code > 0x10FFFF) {
    out += char32_t{0xFFFD};
  } else {
    const bool control = code < 9 || code == 11 || (code >= 14 && code < 32) || code == 0x7F;
    const bool noncharacter = (code & 0xFFFE) == 0xFFFE || (code >= 0xFDD0 && code <= 0xFDEF);
    if (!control && !noncharacter) out += static_cast<char32_t>(code);
  }
}

/// Replaces the reference that begins at `text[at] == '&'`; returns the position after it, or `at` if it is none.
inline std::size_t unescape_one(std::u32string_view text, std::size_t at, std::u32string& out) {
  std::size_t end = at + 1;
  if (end < text.size() && text[end] == '#') {
    ++end;
    const bool hexadecimal = end < text.size() && (text[end] == 'x' || text[end] == 'X');
    if (hexadecimal) ++end;
    const std::size_t digits = end;
    std::uint64_t code = 0;
    for (; end < text.size(); ++end) {
      const char32_t c = text[end];
      const char32_t lower = c | 0x20;
      std::uint64_t digit = 16;
      if (c >= '0' && c <= '9') digit = c - '0';
      if (hexadecimal && c < 0x80 && lower >= 'a' && lower <= 'f') digit = lower - 'a' + 10;
      if (digit == 16) break;
      code = std::min<std::uint64_t>(code * (hexadecimal ? 16 : 10) + digit, 0x110000);
    }
    if (end == digits) return at;
    append_numeric_reference(out, code);
    return end < text.size() && text[end] == ';' ? end + 1 : end;
  }
  const auto in_name = [](char32_t c) {
    return c != '\t' && c != '\n' && c != '\f' && c != ' ' && c != '<' && c != '&' && c != '#' && c != ';';
  };
  while (end < text.size() && end - at <= 32 && in_name(text[end])) ++end;
  if (end < text.size() && text[end] == ';' && end > at + 1) {
    const char32_t code = named_character_code(text.substr(at + 1, end - at - 1), false);
    if (code != 0) {
      out += code;
      return end + 1;
    }
  }
  // Old pages omit the semicolon: the longest Latin-1 name that begins here counts.
  for (; end > at + 2; --end) {
    const char32_t code = named_character_code(text.substr(at + 1, end - at - 1), true);
    if (code != 0) {
      out += code;
      return end;
    }
  }
  return at;
}

/// Character references replaced once. Names are those of HTML 4; other HTML 5 names stay as they are.
inline std::u32string html_unescape(std::u32string_view text) {
  std::u32string out;
  out.reserve(text.size());
  for (std::size_t i = 0; i < text.size();) {
    const std::size_t next = text[i] == '&' ? unescape_one(text, i, out) : i;
    if (next == i)
      out += text[i++];
    else
      i = next;
  }
  return out;
}

/// The character that takes the place of `c`, or 0 if it is dropped: straight quotes for typographic ones, ASCII for
/// full-width forms, nothing for control characters and the byte order mark.
constexpr char32_t plain_character(char32_t c) noexcept {
  if (c == 0x02BC || (c >= 0x2018 && c <= 0x201B)) return '\'';
  if (c >= 0x201C && c <= 0x201F) return '"';
  if (c >= 0xFF01 && c <= 0xFF5E) return c - 0xFEE0;
  const bool control = c < 9 || c == 11 || (c >= 14 && c < 32) || c == 0x7F;
  const bool mark = c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFC) || (c >= 0x206A && c <= 0x206F);
  return control || mark ? char32_t{0} : c;
}

}  // namespace detail

/// Cleans a text as CLIP's tokenizer does: character references replaced twice, typographic quotes and full-width
/// forms made plain, white space collapsed and trimmed, lower case.
///
/// CLIP's own code calls ftfy first. For ASCII that changes nothing; of the rest, quotes, full-width forms and control
/// characters are treated here, while mojibake, ligatures and normalisation to NFC are not: pass composed text.
/// Throws negood.tokenizer.3 with the byte offset for invalid UTF-8 and NUL (F-15), negood.tokenizer.4 above 1 MiB.
inline std::u32string clean_text(std::string_view utf8) {
  constexpr std::size_t longest = std::size_t{1} << 20;
  if (utf8.size() > longest)
    fail(error_category::resource, "negood.tokenizer.4", "text",
         std::to_string(utf8.size()) + " bytes is no name or caption",
         "texts may have up to " + std::to_string(longest) + " bytes");
  std::u32string text;
  if (const auto bad = unicode::decode_utf8(utf8, text))
    fail(error_category::data, "negood.tokenizer.3", "text", "invalid UTF-8 at byte " + std::to_string(*bad),
         "save the names as UTF-8");
  if (const auto nul = utf8.find('\0'); nul != std::string_view::npos)
    fail(error_category::data, "negood.tokenizer.3", "text", "NUL at byte " + std::to_string(nul));
  const std::u32string unescaped = detail::html_unescape(detail::html_unescape(text));
  std::u32string plain;
  plain.reserve(unescaped.size());
  bool gap = false;
  for (const char32_t original : unescaped) {
    const char32_t c = detail::plain_character(original);
    if (c == 0) continue;
    if (unicode::is_space(c)) {
      gap = !plain.empty();
      continue;
    }
    if (gap) plain += U' ';
    gap = false;
    plain += c;
  }
  return unicode::to_lower(plain);
}

/// Class names as folders write them: "great_white_shark" becomes "great white shark".
inline std::string underscores_to_spaces(std::string_view name) {
  std::string out(name);
  std::replace(out.begin(), out.end(), '_', ' ');
  return out;
}

}  // namespace negood
