/// \file scores_file.hpp  Score files: `.npy` float32 or float64, one score an image.
#pragma once

#include "common.hpp"

#include <negood/io/npy.hpp>

namespace negood::cli {

/// Scores as doubles, which hold every float exactly. With `nan` = "skip" NaN scores (of rows that `score --nan skip`
/// set aside) are left out, counted and reported; otherwise they are refused with their row.
inline std::vector<double> read_scores(const common_options& o, const std::string& path, const std::string& nan) {
  const auto file = npy_file::open(path);
  if (!is_floating(file.dtype()) || (file.shape().size() != 1 && !(file.shape().size() == 2 && file.cols() == 1)))
    fail(
        error_category::data, "negood.cli.8", path,
        "is an array of dtype '" + file.header().descr + "' and " + std::to_string(file.shape().size()) + " dimensions",
        "scores are a one-dimensional array of float32 or float64");
  auto scores = file.matrix<double>().values();
  const bool skip = choose<bool>("--nan", nan, {{"reject", false}, {"skip", true}});
  std::size_t kept = 0;
  for (std::size_t i = 0; i < scores.size(); ++i) {
    if (std::isnan(scores[i])) {
      if (!skip)
        fail(error_category::data, "negood.cli.8", path, "row " + std::to_string(i) + " is NaN",
             "--nan=skip leaves such rows out and counts them");
      continue;
    }
    scores[kept++] = scores[i];
  }
  if (kept < scores.size())
    note(o, path + ": " + std::to_string(scores.size() - kept) + " NaN scores left out of " +
                std::to_string(scores.size()));
  scores.resize(kept);
  return scores;
}

}  // namespace negood::cli
