/// \file grouped.hpp  The grouped score of one image from its logits: negatives cut into runs, sigmoids averaged.
#pragma once

#include <negood/score/group_permutation.hpp>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

namespace negood {

/// Which columns of negatives make which group: the k-th of group g is column `order[g * each + k]`.
struct negative_groups {
  index_type groups = 1, each = 0;
  std::vector<index_type> order;
};

/// Cuts `columns` negatives into G equal groups as InterNeg and AdaNeg do: the last `columns mod G` are left out
/// *before* the others are permuted. With one group all take part and their order does not matter: it stays as it is.
/// \throws error negood.bank.2 unless there is a column for every group
inline negative_groups cut_into_groups(index_type columns, index_type groups) {
  if (groups < 1 || columns < groups)
    fail(error_category::usage, "negood.bank.2", "cut_into_groups",
         std::to_string(groups) + " groups cannot be made of " + std::to_string(columns) + " negatives",
         "use between 1 and M groups");
  negative_groups out{groups, columns / groups, {}};
  if (groups > 1) {
    out.order = group_permutation(groups * out.each);
  } else {
    out.order.resize(static_cast<std::size_t>(columns));
    std::iota(out.order.begin(), out.order.end(), index_type{0});
  }
  return out;
}

namespace detail {
inline double log_of_sigmoid(double m) { return m < 0 ? m - std::log1p(std::exp(m)) : -std::log1p(std::exp(-m)); }
/// log(exp(x) + exp(y)).
inline double log_of_sum(double x, double y) {
  const double high = std::max(x, y), low = std::min(x, y);
  return low == -std::numeric_limits<double>::infinity() ? high : high + std::log1p(std::exp(low - high));
}
/// log sum_k exp(z[order[k]]), and minus infinity for none.
template <class Real>
double log_sum_of_columns(std::span<const Real> z, std::span<const index_type> order) {
  const auto at = [&](index_type j) { return static_cast<double>(z[static_cast<std::size_t>(j)]); };
  double high = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const index_type j : order) high = std::max(high, at(j));
  for (const index_type j : order) sum += std::exp(at(j) - high);
  return order.empty() ? high : high + std::log(sum);
}
}  // namespace detail

/// log(S / (1 - S)) of
///
///     S = (1/G) sum_g sigmoid(m_g),   m_g = A - log sum_{j in g} exp(z_j)
///
/// for A = log sum_i exp(z_i) over the classes and the logits `z` of all negatives. Sums in double, in the order of the
/// groups. The quotient is that of sum_g sigmoid(m_g) and sum_g sigmoid(-m_g), both through logarithms, so that nothing
/// saturates; with G = 1 it is m_1 itself.
template <class Real>
double grouped_log_odds(double a, std::span<const Real> z, const negative_groups& groups) {
  double inside = 0, outside = 0;
  for (index_type g = 0; g < groups.groups; ++g) {
    const auto columns = std::span(groups.order)
                             .subspan(static_cast<std::size_t>(g * groups.each), static_cast<std::size_t>(groups.each));
    const double m = a - detail::log_sum_of_columns(z, columns);
    if (groups.groups == 1) return m;
    inside = g == 0 ? detail::log_of_sigmoid(m) : detail::log_of_sum(inside, detail::log_of_sigmoid(m));
    outside = g == 0 ? detail::log_of_sigmoid(-m) : detail::log_of_sum(outside, detail::log_of_sigmoid(-m));
  }
  return inside - outside;
}

}  // namespace negood
