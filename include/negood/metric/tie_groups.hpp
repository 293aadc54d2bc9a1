/// \file tie_groups.hpp  Every metric in one walk over the groups of equal scores, in blocks, with integer counts.
#pragma once

#include <negood/metric/convention.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>

namespace negood {

/// FPR at the wanted recall in the three conventions.
struct fpr_values {
  double id_positive_nearest = 0;
  double id_positive_first = 0;
  double ood_positive_first = 0;

  constexpr double operator[](fpr_convention convention) const noexcept {
    switch (convention) {
      case fpr_convention::id_positive_first:
        return id_positive_first;
      case fpr_convention::ood_positive_first:
        return ood_positive_first;
      default:
        return id_positive_nearest;
    }
  }
  friend constexpr bool operator==(const fpr_values&, const fpr_values&) = default;
};

/// The metrics of one ID set against one OOD set, fractions in [0, 1].
struct metric_values {
  double auroc = 0;               ///< P(s_id > s_ood) + P(s_id = s_ood)/2
  double auroc_strict = 0;        ///< P(s_id > s_ood): ties count nothing, as the released NegPrompt code reports
  double aupr_in_trapezoid = 0;   ///< ID positive, area by the trapezoid rule, closed by (recall 0, precision 1)
  double aupr_in_step = 0;        ///< ID positive, average precision
  double aupr_out_trapezoid = 0;  ///< OOD positive, ranked by the negated score
  double aupr_out_step = 0;
  fpr_values fpr;

  friend constexpr bool operator==(const metric_values&, const metric_values&) = default;
};

namespace detail {

/// Consumes cumulative counts at the boundaries between groups of equal scores, in ascending order of the score.
///
/// Boundary k has I_k ID and J_k OOD scores below it. Accepting everything above boundary k gives
///   ID positive:  tp = N - I_k, fp = M - J_k;      OOD positive (reject what is below):  tp = J_k, fp = I_k.
/// With q_k, w_k the two precisions and a_g, b_g the counts of group g (between boundaries g and g+1)
///   AP_in = sum a_g q_g / N,          trapezoid_in = sum a_g (q_g + q_{g+1}) / 2N,      q_last := 1 where nothing is
///   left AP_out = sum b_g w_{g+1} / M,     trapezoid_out = sum b_g (w_g + w_{g+1}) / 2M,     w_0 := 1.
/// Pairs are counted in 64-bit integers (N*M is checked); precisions are summed in a fixed order with a compensated
/// outer sum, so the result depends on the groups alone and not on how they were found.
class group_accumulator {
 public:
  static constexpr index_type block = 1024;  ///< groups in one call of `consume`, but for the last

  group_accumulator(index_type n_id, index_type n_ood, double recall) : n_(n_id), m_(n_ood), recall_(recall) {
    if (n_id > 0 && n_ood > (index_type{1} << 62) / n_id)
      fail(error_category::resource, "negood.metric.4", "metrics",
           std::to_string(n_id) + " x " + std::to_string(n_ood) + " pairs do not fit 62 bits",
           "evaluate a part of the scores");
    id_target_ = n_id - smallest_count(n_id, recall);
    ood_target_ = smallest_count(n_ood, recall);
  }

  /// `id` and `ood` hold groups+1 cumulative counts; id[0], ood[0] repeat the last ones of the block before.
  void consume(const index_type* id, const index_type* ood, index_type groups) {
    count_pairs(id, ood, groups);
    sum_precisions(id, ood, groups);
    if (!id_found_) find_id_threshold(id, ood, groups);
    if (!ood_found_ && ood[groups] >= ood_target_) {
      const index_type k = std::lower_bound(ood, ood + groups + 1, ood_target_) - ood;
      fpr_.ood_positive_first = quotient(id[k], n_);
      ood_found_ = true;
    }
  }

  index_type tied_pairs() const noexcept { return ties_; }

  metric_values values() const noexcept {
    const double n = static_cast<double>(n_), m = static_cast<double>(m_);
    metric_values v;
    const auto pairs = static_cast<double>(static_cast<std::uint64_t>(n_) * static_cast<std::uint64_t>(m_));
    const auto wins = static_cast<std::uint64_t>(wins_);
    v.auroc = static_cast<double>(2 * wins + static_cast<std::uint64_t>(ties_)) / (2 * pairs);
    v.auroc_strict = static_cast<double>(wins) / pairs;
    v.aupr_in_step = sums_[0].value() / n;
    v.aupr_in_trapezoid = (sums_[0].value() + sums_[1].value()) / (2 * n);
    v.aupr_out_step = sums_[2].value() / m;
    v.aupr_out_trapezoid = (sums_[2].value() + sums_[3].value()) / (2 * m);
    v.fpr = fpr_;
    return v;
  }

 private:
  struct compensated {  // Neumaier's sum
    double sum = 0, rest = 0;
    void add(double x) noexcept {
      const double total = sum + x;
      rest += std::abs(sum) >= std::abs(x) ? (sum - total) + x : (x - total) + sum;
      sum = total;
    }
    double value() const noexcept { return sum + rest; }
  };

  void count_pairs(const index_type* id, const index_type* ood, index_type groups) {
    index_type wins = 0, ties = 0;
    for (index_type g = 0; g < groups; ++g) {
      const index_type a = id[g + 1] - id[g];
      wins += a * ood[g];
      ties += a * (ood[g + 1] - ood[g]);
    }
    wins_ += wins;
    ties_ += ties;
  }

  void sum_precisions(const index_type* id, const index_type* ood, index_type groups) {
    constexpr std::size_t lanes = 8;
    const auto count = static_cast<std::size_t>(groups);
    std::array<double, block + 1> q, w;
    for (std::size_t k = 0; k <= count; ++k) {
      const index_type above_id = n_ - id[k], above = above_id + (m_ - ood[k]), below = id[k] + ood[k];
      // An empty side has precision 1: written as 1/1 so that the loop has no branch.
      const index_type none_above = above == 0, none_below = below == 0;
      q[k] = quotient(above_id + none_above, above + none_above);
      w[k] = quotient(ood[k] + none_below, below + none_below);
    }
    std::array<std::array<double, lanes>, 4> part{};
    const auto add = [&](std::size_t g, std::size_t lane) {
      const double a = static_cast<double>(id[g + 1] - id[g]), b = static_cast<double>(ood[g + 1] - ood[g]);
      part[0][lane] += a * q[g];
      part[1][lane] += a * q[g + 1];
      part[2][lane] += b * w[g + 1];
      part[3][lane] += b * w[g];
    };
    const std::size_t whole = count - count % lanes;
    for (std::size_t g = 0; g < whole; g += lanes)
      for (std::size_t lane = 0; lane < lanes; ++lane) add(g + lane, lane);
    for (std::size_t g = whole; g < count; ++g) add(g, g - whole);
    for (std::size_t s = 0; s < 4; ++s) {
      const auto& p = part[s];
      sums_[s].add(((p[0] + p[1]) + (p[2] + p[3])) + ((p[4] + p[5]) + (p[6] + p[7])));
    }
  }

  void find_id_threshold(const index_type* id, const index_type* ood, index_type groups) {
    if (id[groups] <= id_target_) {
      // The lowest boundary with the same ID count may lie in an earlier block than the highest: carry its OOD count.
      const index_type k = std::lower_bound(id, id + groups + 1, id[groups]) - id;
      if (k > 0) lowest_ood_ = ood[k];
      return;
    }
    id_found_ = true;
    const index_type k =
        std::upper_bound(id, id + groups + 1, id_target_) - id - 1;  // recall reached for the first time
    fpr_.id_positive_first = quotient(m_ - ood[k], m_);
    const index_type tp = n_ - id[k], next_tp = n_ - id[k + 1];
    const bool has_next = id[k + 1] < n_ || ood[k + 1] < m_;  // a distinct score lies above
    // |tp/n - r| <= |next_tp/n - r|  <=>  (tp + next_tp)/2n <= r
    if (has_next && quotient(tp + next_tp, 2 * n_) > recall_) {
      fpr_.id_positive_nearest = quotient(m_ - ood[k + 1], m_);
    } else if (tp == n_) {
      fpr_.id_positive_nearest = fpr_.id_positive_first;
    } else {
      const index_type lowest = std::lower_bound(id, id + groups + 1, id[k]) - id;
      fpr_.id_positive_nearest = quotient(m_ - (lowest > 0 ? ood[lowest] : lowest_ood_), m_);
    }
  }

  index_type n_, m_;
  double recall_;
  index_type id_target_ = 0, ood_target_ = 0;
  index_type wins_ = 0, ties_ = 0;
  index_type lowest_ood_ = 0;
  bool id_found_ = false, ood_found_ = false;
  fpr_values fpr_;
  std::array<compensated, 4> sums_{};
};

/// How many of the first `d` keys of the merged order come from `id`; equal keys come from `id` first.
template <class Key>
index_type merged_from_id(const Key* id, index_type n, const Key* ood, index_type m, index_type d) noexcept {
  index_type low = std::max<index_type>(0, d - m), high = std::min(d, n);
  while (low < high) {
    const index_type middle = low + (high - low) / 2;
    if (id[middle] <= ood[d - 1 - middle])
      low = middle + 1;
    else
      high = middle;
  }
  return low;
}

/// Feeds the groups of two ascending key arrays, each closed by one key larger than any, to the accumulator.
template <class Key>
void merge_groups(const Key* id, index_type n, const Key* ood, index_type m, group_accumulator& out) {
  // Every step of a merge waits for the step before. Four pieces of the merged order, found by bisection, are merged
  // side by side to fill that wait; no branch depends on the data.
  constexpr index_type block = group_accumulator::block, piece = 256, chunk = 4 * piece;
  std::array<Key, chunk + 1> merged;      // the chunk's keys and the one after it
  std::array<index_type, chunk> from_id;  // ID scores up to and including this key
  std::array<index_type, block + chunk + 1> below_id, below_ood;
  below_id[0] = below_ood[0] = 0;
  index_type i = 0, groups = 0;
  for (index_type done = 0, total = n + m; done < total;) {
    const index_type j = done - i, count = std::min(chunk, total - done);
    // One step of the piece that starts at `first`: a is how many came from `id` so far.
    const auto step = [&](index_type& a, index_type first, index_type k) {
      const Key x = id[a], y = ood[done + first + k - a];
      merged[static_cast<std::size_t>(first + k)] = std::min(x, y);
      a += x <= y;
      from_id[static_cast<std::size_t>(first + k)] = a;
    };
    if (count == chunk) {
      index_type a0 = i, a1 = i + merged_from_id(id + i, n - i, ood + j, m - j, piece),
                 a2 = i + merged_from_id(id + i, n - i, ood + j, m - j, 2 * piece),
                 a3 = i + merged_from_id(id + i, n - i, ood + j, m - j, 3 * piece);
      for (index_type k = 0; k < piece; ++k) {
        step(a0, 0, k);
        step(a1, piece, k);
        step(a2, 2 * piece, k);
        step(a3, 3 * piece, k);
      }
    } else {
      for (index_type k = 0, a = i; k < count; ++k) step(a, 0, k);
    }
    i = from_id[static_cast<std::size_t>(count - 1)];
    const index_type before = done;
    done += count;
    merged[static_cast<std::size_t>(count)] = std::min(id[i], ood[done - i]);
    for (index_type k = 0; k < count; ++k) {  // a group is closed where the next key differs
      const auto at = static_cast<std::size_t>(k), g = static_cast<std::size_t>(groups + 1);
      below_id[g] = from_id[at];
      below_ood[g] = before + k + 1 - from_id[at];
      groups += merged[at] != merged[at + 1];
    }
    if (groups >= block) {
      out.consume(below_id.data(), below_ood.data(), block);
      groups -= block;
      std::copy_n(below_id.begin() + block, groups + 1, below_id.begin());
      std::copy_n(below_ood.begin() + block, groups + 1, below_ood.begin());
    }
  }
  if (groups > 0) out.consume(below_id.data(), below_ood.data(), groups);
}

}  // namespace detail
}  // namespace negood
