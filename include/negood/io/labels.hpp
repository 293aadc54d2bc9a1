/// \file labels.hpp  Class labels: `.npy` integers or one integer a line; in-distribution from 0, out of it -1.
#pragma once

#include <negood/io/npy.hpp>
#include <negood/io/number.hpp>
#include <negood/io/text_lines.hpp>

namespace negood {

struct label_options {
  index_type rows = -1;     ///< how many there must be; -1: any number
  index_type classes = -1;  ///< labels lie below it; -1: below 2^31
  index_type lowest = -1;   ///< 0 where every item must belong to a class; -2 for open-set CSV protocols
  std::uint64_t file_bytes = std::uint64_t{4} << 30;
};

/// Refuses a label outside `[lowest, classes)`, naming its row. \throws error negood.labels.2
inline void check_label(std::int64_t label, index_type row, const std::string& file, const label_options& options) {
  const std::int64_t limit = options.classes >= 0 ? options.classes : std::int64_t{1} << 31;
  if (label < options.lowest || label >= limit)
    fail(error_category::data, "negood.labels.2", file,
         "row " + std::to_string(row) + " has the label " + std::to_string(label) + ", which is not in [" +
             std::to_string(options.lowest) + ", " + std::to_string(limit) + ")");
}

/// Refuses another number of labels than of rows. \throws error negood.labels.1
inline void check_label_count(index_type labels, index_type rows, const std::string& file) {
  if (labels != rows)
    fail(error_category::data, "negood.labels.1", file,
         std::to_string(labels) + " labels for " + std::to_string(rows) + " rows");
}

/// Parses labels from the bytes of a `.npy` file of integers (recognised by its magic) or from text.
/// \throws error negood.labels.1 another count, .2 out of range (with its row), .3 no integer (with its line);
///         negood.npy.* for a bad file
inline std::vector<std::int64_t> parse_labels(byte_view bytes, const std::string& file = "labels",
                                              const label_options& options = {}) {
  std::vector<std::int64_t> out;
  if (as_text(bytes).starts_with("\x93NUMPY")) {
    const npy_file npy = npy_file::parse(bytes, file);
    if (is_floating(npy.dtype()) || npy.dtype() == scalar_type::boolean || (npy.shape().size() != 1 && npy.cols() != 1))
      fail(
          error_category::data, "negood.labels.3", file,
          "is an array of dtype '" + npy.header().descr + "' and " + std::to_string(npy.shape().size()) + " dimensions",
          "labels are a one-dimensional array of integers");
    out = npy.matrix<std::int64_t>().values();
  } else {
    std::vector<std::string_view> lines = detail::text_lines(as_text(bytes), file);
    while (!lines.empty() && detail::trimmed(lines.back()).empty()) lines.pop_back();
    out.reserve(lines.size());
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const auto label = parse_number<std::int64_t>(detail::trimmed(lines[i]));
      if (!label)
        fail(error_category::data, "negood.labels.3", file, "line " + std::to_string(i + 1) + " is not an integer");
      out.push_back(*label);
    }
  }
  for (std::size_t i = 0; i < out.size(); ++i) check_label(out[i], static_cast<index_type>(i), file, options);
  if (options.rows >= 0) check_label_count(static_cast<index_type>(out.size()), options.rows, file);
  return out;
}

/// Reads labels. \throws as parse_labels
inline std::vector<std::int64_t> read_labels(const std::filesystem::path& path, const label_options& options = {}) {
  return parse_labels(read_file(path, options.file_bytes), path.string(), options);
}

}  // namespace negood
