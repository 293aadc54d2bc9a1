/// \file text_lines.hpp  Text files from outside: valid UTF-8 without NUL, byte order mark and CRLF normalised.
#pragma once

#include <negood/io/atomic_file.hpp>
#include <negood/io/utf8.hpp>

namespace negood::detail {

/// Splits a text into lines, which refer to it. A last line need not end in a newline.
/// \throws error negood.text.1 not UTF-8, .2 a NUL byte, both with the byte offset
inline std::vector<std::string_view> text_lines(std::string_view text, const std::string& name) {
  if (const std::size_t at = find_invalid_utf8(text); at != std::string_view::npos)
    fail(error_category::data, "negood.text.1", name, "is not valid UTF-8 at byte " + std::to_string(at),
         text.starts_with("\xff\xfe") || text.starts_with("\xfe\xff") ? "it looks like UTF-16: save it as UTF-8"
                                                                      : "save it as UTF-8");
  if (const std::size_t at = text.find('\0'); at != std::string_view::npos)
    fail(error_category::data, "negood.text.2", name, "holds a NUL at byte " + std::to_string(at));
  if (text.starts_with("\xef\xbb\xbf")) text.remove_prefix(3);
  std::vector<std::string_view> out;
  while (!text.empty()) {
    const std::size_t end = text.find('\n');
    std::string_view line = text.substr(0, end);
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    out.push_back(line);
  }
  return out;
}

/// Without spaces and tabs at either end.
inline std::string_view trimmed(std::string_view text) noexcept {
  const std::size_t first = text.find_first_not_of(" \t");
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(" \t") - first + 1);
}

}  // namespace negood::detail
