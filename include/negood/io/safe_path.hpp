/// \file safe_path.hpp  Paths named inside files: they lead to regular files under one root, or nowhere.
#pragma once

#include <negood/error.hpp>

#include <algorithm>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

namespace negood {

namespace detail {

[[noreturn]] inline void refuse_path(std::string_view path, const std::string& where, index_type line,
                                     std::string_view what) {
  fail(error_category::data, "negood.path.1", line > 0 ? where + ", line " + std::to_string(line) : where,
       "the path '" + std::string(path.substr(0, 200)) + "' " + std::string(what),
       "paths are relative to the root and stay under it");
}

}  // namespace detail

/// Checks a path without looking at any disk: relative, no `..`, no scheme such as `file://`, no NUL.
/// `line` of the file that names it, from 1, is told where it is known.
/// \throws error negood.path.1
inline void check_relative_path(std::string_view path, const std::string& where, index_type line = 0) {
  if (path.empty()) detail::refuse_path(path, where, line, "is empty");
  if (path.size() > 4095) detail::refuse_path(path, where, line, "is longer than 4095 bytes");
  if (path.find('\0') != std::string_view::npos) detail::refuse_path(path, where, line, "holds a NUL");
  if (path.front() == '/') detail::refuse_path(path, where, line, "is absolute");
  if (path.find("://") != std::string_view::npos) detail::refuse_path(path, where, line, "names a scheme, not a file");
  for (std::size_t at = 0; at <= path.size();) {
    const std::size_t end = std::min(path.find('/', at), path.size());
    if (path.substr(at, end - at) == "..") detail::refuse_path(path, where, line, "climbs with '..'");
    at = end + 1;
  }
}

/// The file that `path` stands for under `root`, which is canonical: links followed, regular, still under the root.
/// \throws error negood.path.1 (category data) where it leaves the root or is no regular file, .2 (category io) missing
inline std::filesystem::path resolve_under(const std::filesystem::path& root, std::string_view path,
                                           const std::string& where, index_type line = 0) {
  namespace fs = std::filesystem;
  check_relative_path(path, where, line);
  std::error_code problem;
  fs::path real = fs::canonical(root / fs::path(path), problem);
  if (problem)
    fail(error_category::io, "negood.path.2", where,
         "'" + std::string(path.substr(0, 200)) + "' under " + root.string() + ": " + problem.message(),
         "is the root right?");
  auto inside = real.begin();
  for (auto part = root.begin(); part != root.end(); ++part, ++inside)
    if (inside == real.end() || *inside != *part)
      detail::refuse_path(path, where, line, "leads out of the root by a link");
  if (!fs::is_regular_file(real, problem)) detail::refuse_path(path, where, line, "is not a regular file");
  return real;
}

}  // namespace negood
