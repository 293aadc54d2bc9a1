/// \file check.hpp  What stands between a feature file and a score: NaN, infinities, zero rows, rows of other length.
#pragma once

#include <negood/backend/host_matrix.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string>
#include <vector>

namespace negood {

/// What to do with a row that holds a NaN or an infinity. A row that is not rejected is set to zero in the matrix, so
/// that it cannot spread through a product, and `mark_scores` gives it its score.
enum class nan_policy {
  reject,  ///< an error that names the first such row
  skip,    ///< its score is NaN; counted, left out of metrics, reported
  ood      ///< its score is the lowest finite number: most out-of-distribution
};

/// What to do with a row of zeros, which has no direction; it is never divided by its norm.
enum class zero_norm_policy {
  reject,  ///< an error that names the first such row
  ood      ///< its score is the lowest finite number
};

struct feature_options {
  nan_policy nan = nan_policy::reject;
  zero_norm_policy zero_norm = zero_norm_policy::reject;
  bool assume_normalized = false;  ///< leave the rows as they are
  double warn_deviation = 1e-3;    ///< of a norm from 1
};

/// What `check_features` found.
struct feature_report {
  std::vector<index_type> nonfinite_rows;  ///< with NaN or infinity; scored by the policy
  std::vector<index_type> zero_rows;       ///< of norm 0; scored by the policy
  nan_policy nan = nan_policy::reject;
  double max_deviation = 0;     ///< the largest | |x| - 1 | over the other rows, as they were given
  index_type changed_rows = 0;  ///< rows that were divided by their norm
  bool warn = false;            ///< max_deviation passed the option: the rows were not unit rows
};

namespace detail {

/// |x| for finite values, summed in double in their order; scaled by a power of two where squares would leave the
/// range.
template <class T>
double row_norm(std::span<const T> row, int& exponent) noexcept {
  double largest = 0;
  for (const T v : row) largest = std::max(largest, std::abs(static_cast<double>(v)));
  exponent = 0;
  if (largest == 0) return 0;
  if (largest < 1e-140 || largest > 1e140) exponent = std::ilogb(largest);
  double sum = 0;
  for (const T v : row) {
    const double x = exponent == 0 ? static_cast<double>(v) : std::ldexp(static_cast<double>(v), -exponent);
    sum += x * x;
  }
  return std::sqrt(sum);  // of the scaled row: |x| = this * 2^exponent
}

}  // namespace detail

/// Checks feature rows and divides each by its norm, in double, so that |x| = 1.
///
/// A row whose norm is 1 to within two units of rounding stays as it is, so that a second call changes nothing.
/// `x` is `[N, D]`, `where` names the file in messages. After a throw the rows before the named one are normalised.
/// \throws error negood.feature.1 an empty matrix, .2 a NaN or infinity, .3 a zero row (the first one of the file),
///         all category data
template <class T>
feature_report check_features(host_matrix<T>& x, const feature_options& options = {},
                              const std::string& where = "features") {
  if (x.rows() <= 0 || x.cols() <= 0)
    fail(error_category::data, "negood.feature.1", where, "is empty: " + shape_string(x.rows(), x.cols()));
  feature_report report;
  report.nan = options.nan;
  for (index_type r = 0; r < x.rows(); ++r) {
    const std::span<T> row = x.row(r);
    const auto bad = std::find_if(row.begin(), row.end(), [](T v) { return !std::isfinite(v); });
    if (bad != row.end()) {
      if (options.nan == nan_policy::reject)
        fail(error_category::data, "negood.feature.2", where,
             "row " + std::to_string(r) + ", column " + std::to_string(bad - row.begin()) + " is " +
                 (std::isnan(*bad) ? "NaN" : "infinite"),
             "--nan=skip leaves such rows out, --nan=ood scores them lowest");
      report.nonfinite_rows.push_back(r);
      std::fill(row.begin(), row.end(), T{0});
      continue;
    }
    int exponent = 0;
    const double norm = detail::row_norm<T>(row, exponent);
    if (norm == 0) {
      if (options.zero_norm == zero_norm_policy::reject)
        fail(error_category::data, "negood.feature.3", where, "row " + std::to_string(r) + " is all zeros",
             "--zero-norm=ood scores such rows lowest");
      report.zero_rows.push_back(r);
      continue;
    }
    const double deviation = std::abs(std::ldexp(norm, exponent) - 1.0);
    report.max_deviation = std::max(report.max_deviation, deviation);
    if (options.assume_normalized || deviation <= 2.0 * static_cast<double>(std::numeric_limits<T>::epsilon()))
      continue;
    for (T& v : row)
      v = static_cast<T>((exponent == 0 ? static_cast<double>(v) : std::ldexp(static_cast<double>(v), -exponent)) /
                         norm);
    ++report.changed_rows;
  }
  report.warn = report.max_deviation > options.warn_deviation;
  return report;
}

/// Gives the rows that `check_features` set aside their scores: NaN where they are skipped, else the lowest number.
template <class T>
void mark_scores(std::span<T> scores, const feature_report& report) {
  const T nonfinite =
      report.nan == nan_policy::skip ? std::numeric_limits<T>::quiet_NaN() : std::numeric_limits<T>::lowest();
  for (const index_type r : report.nonfinite_rows) scores[static_cast<std::size_t>(r)] = nonfinite;
  for (const index_type r : report.zero_rows) scores[static_cast<std::size_t>(r)] = std::numeric_limits<T>::lowest();
}

/// Refuses features of two widths, naming both. \throws error negood.feature.4
inline void check_same_width(index_type cols, const std::string& what, index_type other_cols,
                             const std::string& other) {
  if (cols != other_cols)
    fail(error_category::data, "negood.feature.4", what,
         "rows are " + std::to_string(cols) + " wide, those of " + other + " are " + std::to_string(other_cols) +
             " wide",
         "were they made by the same encoder?");
}

}  // namespace negood
