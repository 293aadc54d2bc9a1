/// \file image_list.hpp  Which pictures, and their labels: a text list, a CSV protocol, or a folder of class folders.
#pragma once

#include <negood/io/labels.hpp>
#include <negood/io/safe_path.hpp>

#include <string>
#include <vector>

namespace negood {

enum class image_list_format {
  automatic,  ///< a directory is class folders, `.csv` is CSV, anything else is text
  text,       ///< `path label` a line, split at the last space
  csv,        ///< `path,label` a line without a header; -1 known unknown, -2 out-of-distribution
  folders     ///< one folder a class, in byte order of their names
};

struct image_list_options {
  std::filesystem::path root{};  ///< paths are relative to it; empty: the folder of the list
  image_list_format format = image_list_format::automatic;
  index_type classes = -1;  ///< labels lie below it; -1: below 2^31
  index_type lowest = -2;   ///< 0 where every picture must belong to a class
  bool check_files = true;  ///< every path is a regular file under the root, links followed
  std::size_t entries = std::size_t{1} << 24;
  std::uint64_t file_bytes = std::uint64_t{1} << 30;
};

/// Pictures in the order of the list, or of class and path.
struct image_list {
  std::vector<std::string> paths;  ///< relative to `root`
  std::vector<index_type> labels;
  std::vector<std::string> class_names;  ///< of class folders only
  std::filesystem::path root;            ///< canonical where files were checked

  index_type size() const noexcept { return static_cast<index_type>(paths.size()); }
  std::filesystem::path file(index_type i) const { return root / paths[static_cast<std::size_t>(i)]; }
};

/// Parses a list without looking at any disk; `format` is text or csv.
/// \throws error negood.text.1 not UTF-8, .2 NUL; negood.list.1 no picture, .2 a line without path and label (with its
///         line), .3 too many; negood.labels.2 a label out of range (with its row); negood.path.1 a path that may lead
///         out of the root
inline image_list parse_image_list(std::string_view text, const std::string& file = "image list",
                                   const image_list_options& options = {}) {
  const bool csv = options.format == image_list_format::csv;
  const label_options label_rule{.classes = options.classes, .lowest = options.lowest};
  image_list out;
  out.root = options.root;
  const std::vector<std::string_view> lines = detail::text_lines(text, file);
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string_view line = detail::trimmed(lines[i]);
    if (line.empty()) continue;
    if (out.paths.size() == options.entries)
      fail(error_category::resource, "negood.list.3", file,
           "more than " + std::to_string(options.entries) + " pictures");
    const std::size_t split = line.find_last_of(csv ? "," : " \t");
    const auto label = split == std::string_view::npos
                           ? std::nullopt
                           : parse_number<std::int64_t>(detail::trimmed(line.substr(split + 1)));
    if (!label)
      fail(error_category::data, "negood.list.2", file,
           "line " + std::to_string(i + 1) + " is not '" + (csv ? "path,label" : "path label") + "'");
    const std::string_view path = detail::trimmed(line.substr(0, split));
    check_relative_path(path, file, static_cast<index_type>(i + 1));
    check_label(*label, out.size(), file, label_rule);
    out.paths.emplace_back(path);
    out.labels.push_back(*label);
  }
  if (out.paths.empty()) fail(error_category::data, "negood.list.1", file, "names no picture");
  return out;
}

namespace detail {

inline bool has_image_extension(const std::filesystem::path& path) {
  std::string e = path.extension().string();
  for (char& c : e) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  return e == ".jpg" || e == ".jpeg" || e == ".png";
}

/// Pictures below `folder`; hidden entries and links to folders are left alone, so that no cycle can arise.
inline void collect_images(const std::filesystem::path& folder, const std::string& prefix, int depth,
                           std::vector<std::string>& out, std::size_t limit, const std::string& where) {
  namespace fs = std::filesystem;
  if (depth > 16) fail(error_category::resource, "negood.list.3", where, "folders deeper than 16 levels");
  for (const fs::directory_entry& e : fs::directory_iterator(folder)) {
    const std::string name = e.path().filename().string();
    if (name.empty() || name.front() == '.') continue;
    if (e.is_directory() && !e.is_symlink()) {
      collect_images(e.path(), prefix + name + "/", depth + 1, out, limit, where);
    } else if (has_image_extension(e.path())) {
      if (out.size() == limit)
        fail(error_category::resource, "negood.list.3", where, "more than " + std::to_string(limit) + " pictures");
      out.push_back(prefix + name);
    }
  }
}

inline image_list read_class_folders(const std::filesystem::path& folder, const image_list_options& options) {
  namespace fs = std::filesystem;
  image_list out;
  out.root = folder;
  const std::string where = folder.string();
  try {
    for (const fs::directory_entry& e : fs::directory_iterator(folder)) {
      const std::string name = e.path().filename().string();
      if (e.is_directory() && !e.is_symlink() && !name.empty() && name.front() != '.') out.class_names.push_back(name);
    }
    std::sort(out.class_names.begin(), out.class_names.end());
    for (std::size_t c = 0; c < out.class_names.size(); ++c) {
      const std::size_t first = out.paths.size();
      collect_images(folder / out.class_names[c], out.class_names[c] + "/", 1, out.paths, options.entries, where);
      std::sort(out.paths.begin() + static_cast<std::ptrdiff_t>(first), out.paths.end());
      out.labels.resize(out.paths.size(), static_cast<index_type>(c));
    }
  } catch (const fs::filesystem_error& problem) {
    fail(error_category::io, "negood.list.4", where, problem.code().message());
  }
  if (options.classes >= 0 && static_cast<index_type>(out.class_names.size()) > options.classes)
    fail(error_category::data, "negood.labels.2", where,
         std::to_string(out.class_names.size()) + " class folders for " + std::to_string(options.classes) + " classes");
  if (out.paths.empty())
    fail(error_category::data, "negood.list.1", where, "no class folder holds a JPEG or PNG picture",
         "one folder a class, with .jpg, .jpeg or .png files");
  return out;
}

}  // namespace detail

/// Reads a list of labelled pictures: text, CSV or a folder of class folders; always in the same order.
/// \throws error as parse_image_list, and negood.path.1 a path that leads out of the root or to no regular file, .2
///         missing; negood.list.4 a folder that cannot be read
inline image_list read_image_list(const std::filesystem::path& path, image_list_options options = {}) {
  namespace fs = std::filesystem;
  std::error_code problem;
  if (options.format == image_list_format::automatic)
    options.format = fs::is_directory(path, problem) ? image_list_format::folders
                     : path.extension() == ".csv"    ? image_list_format::csv
                                                     : image_list_format::text;
  image_list out;
  if (options.format == image_list_format::folders) {
    out = detail::read_class_folders(path, options);
  } else {
    const byte_vector bytes = read_file(path, options.file_bytes);
    out = parse_image_list(as_text(bytes), path.string(), options);
    out.root = !options.root.empty() ? options.root : path.has_parent_path() ? path.parent_path() : fs::path(".");
  }
  if (!options.check_files) return out;
  const fs::path root = fs::canonical(out.root, problem);
  if (problem) fail(error_category::io, "negood.path.2", out.root.string(), problem.message(), "is the root right?");
  out.root = root;
  const std::string where = path.string();
  for (const std::string& picture : out.paths) resolve_under(root, picture, where);
  return out;
}

/// As above with the root as its own argument. \throws as above
inline image_list read_image_list(const std::filesystem::path& path, const std::filesystem::path& root) {
  return read_image_list(path, image_list_options{.root = root});
}

}  // namespace negood
