/// \file escape.hpp  Names from outside, made harmless for a terminal, HTML, CSV and LaTeX.
#pragma once

#include <negood/io/utf8.hpp>

#include <string>

namespace negood {

/// True for characters that change how a text is shown without being seen: C0 and C1 controls, directional marks and
/// overrides, zero-width characters, line and paragraph separators, tags and the byte order mark.
constexpr bool is_hidden_character(char32_t c) noexcept {
  return c < 0x20 || (c >= 0x7f && c <= 0x9f) || c == 0xad || c == 0x61c || c == 0x180e ||
         (c >= 0x200b && c <= 0x200f) || (c >= 0x2028 && c <= 0x202e) || (c >= 0x2060 && c <= 0x206f) || c == 0xfeff ||
         (c >= 0xfff9 && c <= 0xfffb) || (c >= 0xe0000 && c <= 0xe007f);
}

namespace detail {

/// `\u{202e}` for a code point, `\x{ff}` for a byte that is no UTF-8, without an allocation.
class spelled_character {
 public:
  spelled_character(char kind, std::uint32_t value, int digits) noexcept {
    put('\\');
    put(kind);
    put('{');
    for (int shift = 4 * (digits - 1); shift >= 0; shift -= 4) put("0123456789abcdef"[(value >> shift) & 0xfu]);
    put('}');
  }
  std::string_view view() const noexcept { return {text_, size_}; }

 private:
  void put(char c) noexcept { text_[size_++] = c; }
  char text_[12] = {};
  std::size_t size_ = 0;
};

/// Calls `plain` with every visible character and `hidden` with the spelled form of every other one.
template <class Plain, class Hidden>
void for_each_character(std::string_view text, Plain plain, Hidden hidden) {
  for (std::size_t at = 0; at < text.size();) {
    const utf8_point point = decode_utf8(text.substr(at));
    if (point.length == 0) {
      hidden(spelled_character('x', static_cast<unsigned char>(text[at]), 2).view());
      ++at;
      continue;
    }
    if (is_hidden_character(point.value))
      hidden(spelled_character('u', point.value, point.value > 0xffff ? 5 : 4).view());
    else
      plain(text.substr(at, point.length));
    at += point.length;
  }
}

}  // namespace detail

/// For a terminal or a log: hidden characters and invalid bytes are spelled, a backslash is doubled.
inline std::string escape_terminal(std::string_view text) {
  std::string out;
  detail::for_each_character(
      text, [&](std::string_view c) { out += c == "\\" ? std::string_view("\\\\") : c; },
      [&](std::string_view spelled) { out += spelled; });
  return out;
}

/// For HTML and SVG, in text and in quoted attributes.
inline std::string escape_html(std::string_view text) {
  std::string out;
  detail::for_each_character(
      text,
      [&](std::string_view c) {
        switch (c.front()) {
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
            out += c;
        }
      },
      [&](std::string_view spelled) { out += spelled; });
  return out;
}

/// One CSV field of text. What a spreadsheet would take for a formula gets a leading apostrophe; numbers that negood
/// writes itself do not pass through here.
inline std::string escape_csv(std::string_view text) {
  std::string body;
  const std::size_t first = text.find_first_not_of(' ');
  if (first != std::string_view::npos && std::string_view("=+-@\t\r|%").find(text[first]) != std::string_view::npos)
    body += '\'';
  bool quote = text.empty() || text.front() == ' ' || text.back() == ' ';
  detail::for_each_character(
      text,
      [&](std::string_view c) {
        quote = quote || c == "," || c == ";" || c == "\"" || c == "'";
        if (c == "\"") body += '"';
        body += c;
      },
      [&](std::string_view spelled) { body += spelled; });
  return quote ? "\"" + body + "\"" : body;
}

/// For LaTeX text: every character with a meaning to TeX is written as the command that prints it.
inline std::string escape_latex(std::string_view text) {
  std::string out;
  const auto put = [&](std::string_view c) {
    switch (c.front()) {
      case '\\':
        out += "\\textbackslash{}";
        break;
      case '~':
        out += "\\textasciitilde{}";
        break;
      case '^':
        out += "\\textasciicircum{}";
        break;
      case '<':
        out += "\\textless{}";
        break;
      case '>':
        out += "\\textgreater{}";
        break;
      case '|':
        out += "\\textbar{}";
        break;
      case '"':
        out += "\\textquotedbl{}";
        break;
      case '-':
        out += "{-}";
        break;  // keeps -- from becoming a dash
      case '`':
        out += "\\textasciigrave{}";
        break;
      case '&':
      case '%':
      case '$':
      case '#':
      case '_':
      case '{':
      case '}':
        out += '\\';
        [[fallthrough]];
      default:
        out += c;
    }
  };
  detail::for_each_character(text, put, [&](std::string_view spelled) {
    for (std::size_t i = 0; i < spelled.size(); ++i) put(spelled.substr(i, 1));
  });
  return out;
}

}  // namespace negood
