/// \file names.hpp  Class names: UTF-8 text, one a line.
#pragma once

#include <negood/error.hpp>
#include <negood/io/text_lines.hpp>

#include <map>
#include <string>
#include <vector>

namespace negood {

/// What to do with a name that stands twice. Published ImageNet lists repeat "missile" and "sunglasses".
enum class duplicate_policy {
  reject,  ///< an error that names both lines
  keep,    ///< two classes of one name
  merge    ///< one class; `class_of_line` maps the lines
};

struct names_options {
  duplicate_policy duplicates = duplicate_policy::reject;
  std::uint64_t file_bytes = std::uint64_t{256} << 20;
  std::size_t name_bytes = 4096;
};

struct name_duplicate {
  index_type first = 0, again = 0;  ///< lines, counted from 0
};

struct name_list {
  std::vector<std::string> names;
  std::vector<index_type> class_of_line;  ///< differs from 0, 1, 2 … only after a merge
  std::vector<name_duplicate> duplicates;
};

/// Parses names, one a line, in the order of the file.
///
/// A byte order mark and CRLF line ends are dropped, and so are blanks around a name and empty lines at the end. An
/// empty line between names is refused, because it would shift every label after it. Control and bidirectional
/// characters are kept as they are: escape.hpp makes them harmless where names are shown.
/// \throws error negood.text.1 not UTF-8, .2 NUL (both with the byte offset); negood.names.1 no name, .2 an empty line,
///         .3 a duplicate (with both lines), .4 a name too long
inline name_list parse_names(std::string_view text, const std::string& file = "names",
                             const names_options& options = {}) {
  std::vector<std::string_view> lines = detail::text_lines(text, file);
  while (!lines.empty() && detail::trimmed(lines.back()).empty()) lines.pop_back();
  if (lines.empty()) fail(error_category::data, "negood.names.1", file, "holds no name", "one class name a line");
  name_list out;
  std::map<std::string_view, index_type> line_of, class_of;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string_view name = detail::trimmed(lines[i]);
    const index_type line = static_cast<index_type>(i);
    if (name.empty())
      fail(error_category::data, "negood.names.2", file, "line " + std::to_string(i + 1) + " is empty",
           "remove it: line n is class n");
    if (name.size() > options.name_bytes)
      fail(error_category::data, "negood.names.4", file,
           "line " + std::to_string(i + 1) + " is a name of " + std::to_string(name.size()) + " bytes");
    const auto [before, fresh] = line_of.emplace(name, line);
    if (!fresh) {
      if (options.duplicates == duplicate_policy::reject)
        fail(error_category::data, "negood.names.3", file,
             "line " + std::to_string(i + 1) + " repeats the name of line " + std::to_string(before->second + 1) +
                 ", '" + std::string(name.substr(0, 100)) + "'",
             "--dup=keep keeps both classes, --dup=merge makes them one");
      out.duplicates.push_back({before->second, line});
      if (options.duplicates == duplicate_policy::merge) {
        out.class_of_line.push_back(class_of[name]);
        continue;
      }
    }
    class_of.emplace(name, static_cast<index_type>(out.names.size()));
    out.class_of_line.push_back(static_cast<index_type>(out.names.size()));
    out.names.emplace_back(name);
  }
  return out;
}

/// Reads names with what is known about duplicates.
inline name_list read_name_list(const std::filesystem::path& path, const names_options& options = {}) {
  const byte_vector bytes = read_file(path, options.file_bytes);
  return parse_names(as_text(bytes), path.string(), options);
}

/// Reads class names, one a line. \throws as parse_names
inline std::vector<std::string> read_names(const std::filesystem::path& path, const names_options& options = {}) {
  return read_name_list(path, options).names;
}

}  // namespace negood
