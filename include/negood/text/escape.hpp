/// \file escape.hpp  Names from outside, made safe for where they are printed (F-15, F-16).
///
/// Input is UTF-8; a byte that is not is shown as \x{NN}. Control characters and the invisible ones that reorder or
/// hide text (bidirectional marks, zero-width characters, line separators) are shown as their code point, so that what
/// is read is what is there.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace negood::text {

namespace detail {

struct code_point {
  std::uint32_t value = 0;
  std::size_t length = 0;  ///< bytes; 0 if the next byte starts no valid UTF-8
};

inline code_point next_code_point(std::string_view s) noexcept {
  const auto byte = [&](std::size_t i) { return static_cast<std::uint32_t>(static_cast<unsigned char>(s[i])); };
  const std::uint32_t first = byte(0);
  if (first < 0x80) return {first, 1};
  const std::size_t length = first >= 0xF0 ? 4 : first >= 0xE0 ? 3 : 2;
  if (first < 0xC2 || first > 0xF4 || s.size() < length) return {};
  std::uint32_t value = first & (0x7FU >> length);
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return {};
    value = value << 6 | (byte(i) & 0x3F);
  }
  const bool overlong = (length == 3 && value < 0x800) || (length == 4 && value < 0x10000);
  if (overlong || value > 0x10FFFF || (value >= 0xD800 && value <= 0xDFFF)) return {};
  return {value, length};
}

inline std::string hex(std::uint32_t value, int width) {
  std::string out;
  for (int shift = 4 * (width - 1); shift >= 0; shift -= 4) out += "0123456789abcdef"[value >> shift & 0xF];
  return out;
}

/// Control characters (C0, DEL, C1), and formatting characters that change what is seen.
inline bool deceptive(std::uint32_t c) noexcept {
  return c < 0x20 || (c >= 0x7F && c < 0xA0) || c == 0xAD || c == 0x61C || (c >= 0x200B && c <= 0x200F) ||
         (c >= 0x2028 && c <= 0x202E) || (c >= 0x2060 && c <= 0x206F) || c == 0xFEFF || (c >= 0xFFF9 && c <= 0xFFFB) ||
         (c >= 0xE0000 && c <= 0xE007F);
}

/// Walks over `s`: bytes that are not UTF-8 and deceptive characters go to `hidden(text)` as visible ASCII such as \x1b
/// or \u202e, everything else to `plain(code point, its bytes)`.
template <class Plain, class Hidden>
void walk(std::string_view s, Plain plain, Hidden hidden) {
  while (!s.empty()) {
    const code_point c = next_code_point(s);
    const std::size_t length = c.length == 0 ? 1 : c.length;
    if (c.length == 0) {
      hidden("\\x{" + hex(static_cast<unsigned char>(s[0]), 2) + '}');
    } else if (deceptive(c.value)) {
      hidden("\\u{" + hex(c.value, c.value > 0xFFFF ? 5 : 4) + '}');
    } else {
      plain(c.value, s.substr(0, length));
    }
    s.remove_prefix(length);
  }
}

}  // namespace detail

/// For a terminal or a log: no escape sequence, no line break, no reordering survives. A backslash is doubled.
inline std::string escape_terminal(std::string_view s) {
  std::string out;
  detail::walk(
      s, [&](std::uint32_t c, std::string_view bytes) { out += c == '\\' ? std::string_view("\\\\") : bytes; },
      [&](const std::string& shown) { out += shown; });
  return out;
}

/// For HTML and SVG, in text and in quoted attributes.
inline std::string escape_html(std::string_view s) {
  std::string out;
  detail::walk(
      s,
      [&](std::uint32_t c, std::string_view bytes) {
        switch (c) {
          case '&':
            out += "&amp;";
            break;
          case '<':
            out += "&lt;";
            break;
          case '>':
            out += "&gt;";
            break;
          case '"':
            out += "&quot;";
            break;
          case '\'':
            out += "&#39;";
            break;
          default:
            out += bytes;
        }
      },
      [&](const std::string& shown) { out += shown; });
  return out;
}

/// One CSV field, quoted where needed. A field that a spreadsheet would run (it begins, blanks aside, with = + - @ | %)
/// gets a leading apostrophe; negative numbers are written as numbers and do not pass here.
inline std::string escape_csv(std::string_view s) {
  std::string body;
  bool quote = false;
  detail::walk(
      s,
      [&](std::uint32_t c, std::string_view bytes) {
        quote = quote || c == ',' || c == '"' || c == ';';
        if (c == '"') body += '"';
        body += bytes;
      },
      [&](const std::string& shown) { body += shown; });
  const std::size_t first = body.find_first_not_of(' ');
  if (first != std::string::npos && std::string_view("=+-@|%").find(body[first]) != std::string_view::npos)
    body.insert(0, 1, '\'');
  quote = quote || (!body.empty() && (body.front() == ' ' || body.back() == ' '));
  return quote ? '"' + body + '"' : body;
}

/// For LaTeX text mode: no command, comment, group or alignment survives.
inline std::string escape_latex(std::string_view s) {
  std::string out;
  const auto put = [&](char c) {
    switch (c) {
      case '\\':
        out += "\\textbackslash{}";
        break;
      case '~':
        out += "\\textasciitilde{}";
        break;
      case '^':
        out += "\\textasciicircum{}";
        break;
      case '"':
        out += "\\textquotedbl{}";
        break;
      case '<':
        out += "\\textless{}";
        break;
      case '>':
        out += "\\textgreater{}";
        break;
      case '&':
      case '%':
      case '$':
      case '#':
      case '_':
      case '{':
      case '}':
        out += '\\';
        out += c;
        break;
      default:
        out += c;
    }
  };
  detail::walk(
      s,
      [&](std::uint32_t c, std::string_view bytes) {
        if (c < 0x80)
          put(static_cast<char>(c));
        else
          out += bytes;
      },
      [&](const std::string& shown) {
        for (const char c : shown) put(c);
      });
  return out;
}

/// For a cell of a Markdown table: pipes, markup and HTML are literal.
inline std::string escape_markdown(std::string_view s) {
  std::string out;
  constexpr std::string_view special = "\\`*_{}[]()#+-!|~";
  const auto put = [&](char c) {
    if (c == '<' || c == '>' || c == '&') {
      out += c == '<' ? "&lt;" : c == '>' ? "&gt;" : "&amp;";
      return;
    }
    if (special.find(c) != std::string_view::npos) out += '\\';
    out += c;
  };
  detail::walk(
      s,
      [&](std::uint32_t c, std::string_view bytes) {
        if (c < 0x80)
          put(static_cast<char>(c));
        else
          out += bytes;
      },
      [&](const std::string& shown) {
        for (const char c : shown) put(c);
      });
  return out;
}

/// A JSON string with its quotes. The value is kept: deceptive characters become \u escapes; a byte that is not UTF-8,
/// which JSON cannot hold, becomes U+FFFD. `<`, `>` and `&` are escaped too, so the text may stand inside an HTML
/// script element.
inline std::string json_string(std::string_view s) {
  std::string out = "\"";
  const auto unit = [&](std::uint32_t u) { out += "\\u" + detail::hex(u, 4); };
  while (!s.empty()) {
    const detail::code_point c = detail::next_code_point(s);
    const std::size_t length = c.length == 0 ? 1 : c.length;
    if (c.length == 0) {
      unit(0xFFFD);
    } else if (c.value == '"' || c.value == '\\') {
      out += '\\';
      out += static_cast<char>(c.value);
    } else if (c.value >= 0x10000 && detail::deceptive(c.value)) {
      unit(0xD800 + ((c.value - 0x10000) >> 10));
      unit(0xDC00 + ((c.value - 0x10000) & 0x3FF));
    } else if (detail::deceptive(c.value) || c.value == '<' || c.value == '>' || c.value == '&') {
      unit(c.value);
    } else {
      out += s.substr(0, length);
    }
    s.remove_prefix(length);
  }
  return out + '"';
}

}  // namespace negood::text
