/// \file convention.hpp  Which FPR is meant: the published papers mix conventions, so negood always names its own.
#pragma once

#include <negood/error.hpp>
#include <negood/text/number.hpp>

#include <array>
#include <optional>
#include <string_view>

namespace negood {

/// The three ways in which "FPR at 95 % TPR" is computed in published code. Scores are higher = more ID; equal scores
/// always fall on the same side of a threshold.
enum class fpr_convention {
  /// Share of OOD accepted at the distinct score whose ID recall is *closest* to the wanted one; of two recalls equally
  /// far the higher; of thresholds with one recall the lowest, but the highest one where the recall is 1.
  /// The routine of the MCM, LoCoOp, NegLabel and NegPrompt code. That code compares the two distances in floating
  /// point, so where 20 divides n_id - 10 it sometimes takes the lower recall by a rounding error; negood does not.
  id_positive_nearest,
  /// Share of OOD accepted at the highest threshold whose ID recall reaches the wanted one.
  id_positive_first,
  /// Share of ID *rejected* at the lowest threshold that detects the wanted share of OOD (OpenOOD since 1.5).
  ood_positive_first
};

inline constexpr std::array<fpr_convention, 3> fpr_conventions{
    fpr_convention::id_positive_nearest, fpr_convention::id_positive_first, fpr_convention::ood_positive_first};

/// The name used in files and on the command line.
constexpr std::string_view to_string(fpr_convention convention) noexcept {
  switch (convention) {
    case fpr_convention::id_positive_first:
      return "id_positive_first";
    case fpr_convention::ood_positive_first:
      return "ood_positive_first";
    default:
      return "id_positive_nearest";
  }
}

/// The name printed in the header of a table.
constexpr std::string_view title(fpr_convention convention) noexcept {
  switch (convention) {
    case fpr_convention::id_positive_first:
      return "ID positive, first";
    case fpr_convention::ood_positive_first:
      return "OOD positive, first";
    default:
      return "ID positive, nearest";
  }
}

/// The convention of that name, nothing for any other text.
constexpr std::optional<fpr_convention> parse_fpr_convention(std::string_view name) noexcept {
  for (const fpr_convention convention : fpr_conventions)
    if (to_string(convention) == name) return convention;
  return std::nullopt;
}

namespace detail {

/// count/total as a double. A correctly rounded quotient compares with a decimal constant as the exact fraction does
/// (19/20 == 0.95, and no other count of fewer than 10^15 rounds to it), so recalls need no tolerance.
inline double quotient(index_type count, index_type total) noexcept {
  return static_cast<double>(count) / static_cast<double>(total);
}

/// The smallest count in [0, total] with count/total >= share.
inline index_type smallest_count(index_type total, double share) noexcept {
  index_type count = static_cast<index_type>(share * static_cast<double>(total));
  if (count > total) count = total;
  while (count > 0 && quotient(count - 1, total) >= share) --count;
  while (count < total && quotient(count, total) < share) ++count;
  return count;
}

/// The largest count in [0, total] with count/total <= share.
inline index_type largest_count(index_type total, double share) noexcept {
  index_type count = static_cast<index_type>(share * static_cast<double>(total));
  if (count > total) count = total;
  while (count < total && quotient(count + 1, total) <= share) ++count;
  while (count > 0 && quotient(count, total) > share) --count;
  return count;
}

inline void require_share(double share, std::string_view code, std::string_view where, std::string_view name) {
  if (!(share > 0.0 && share <= 1.0))
    fail(error_category::usage, code, where, std::string(name) + " is " + text::significant(share, 6),
         "it must lie in (0, 1]");
}

}  // namespace detail
}  // namespace negood
