/// \file brute_force.hpp  The metrics as their definitions read: every pair, every threshold, no sorting tricks.
#pragma once

#include <negood/metric/evaluate.hpp>

#include <cstdlib>
#include <set>

namespace brute_force {

using negood::index_type;

template <class Real>
index_type count_at_least(const std::vector<Real>& scores, Real t) {
  index_type n = 0;
  for (const Real s : scores) n += s >= t;
  return n;
}

/// `recall` = num/den.
template <class Real>
negood::metric_report evaluate(const std::vector<Real>& id, const std::vector<Real>& ood, index_type num,
                               index_type den) {
  const auto n = static_cast<index_type>(id.size()), m = static_cast<index_type>(ood.size());
  const auto fraction = [](index_type a, index_type b) { return static_cast<double>(a) / static_cast<double>(b); };
  negood::metric_report r;
  r.n_id = n;
  r.n_ood = m;
  r.recall = fraction(num, den);
  r.values.emplace();
  negood::metric_values& v = *r.values;

  index_type wins = 0;
  for (const Real a : id)
    for (const Real b : ood) {
      wins += a > b;
      r.tied_pairs += a == b;
    }
  v.auroc = fraction(2 * wins + r.tied_pairs, 2 * n * m);
  v.auroc_strict = fraction(wins, n * m);

  std::set<Real> distinct(id.begin(), id.end());
  distinct.insert(ood.begin(), ood.end());
  r.degenerate = distinct.size() == 1;

  // Thresholds from the highest score down: precision and recall with ID positive.
  const auto area = [&](bool id_positive, double& step, double& trapezoid) {
    double last_recall = 0, last_precision = 1;
    const auto point = [&](index_type tp, index_type fp) {
      const double recall = fraction(tp, id_positive ? n : m), precision = fraction(tp, tp + fp);
      step += (recall - last_recall) * precision;
      trapezoid += (recall - last_recall) * (precision + last_precision) / 2;
      last_recall = recall;
      last_precision = precision;
    };
    if (id_positive) {
      for (auto t = distinct.rbegin(); t != distinct.rend(); ++t)
        point(count_at_least(id, *t), count_at_least(ood, *t));
    } else {
      for (auto t = distinct.begin(); t != distinct.end(); ++t) {
        const auto above = std::next(t);
        const index_type a = above == distinct.end() ? 0 : count_at_least(id, *above);
        const index_type b = above == distinct.end() ? 0 : count_at_least(ood, *above);
        point(m - b, n - a);
      }
    }
  };
  area(true, v.aupr_in_step, v.aupr_in_trapezoid);
  area(false, v.aupr_out_step, v.aupr_out_trapezoid);

  bool first = true;
  for (auto t = distinct.rbegin(); t != distinct.rend() && first; ++t)
    if (den * count_at_least(id, *t) >= num * n) {
      v.fpr.id_positive_first = fraction(count_at_least(ood, *t), m);
      first = false;
    }
  first = true;
  for (auto t = distinct.begin(); t != distinct.end() && first; ++t) {
    index_type ood_rejected = 0, id_rejected = 0;
    for (const Real s : ood) ood_rejected += s <= *t;
    for (const Real s : id) id_rejected += s <= *t;
    if (den * ood_rejected >= num * m) {
      v.fpr.ood_positive_first = fraction(id_rejected, n);
      first = false;
    }
  }
  // Nearest: from the highest threshold of full recall upwards; the first of equal distance is kept.
  index_type best = -1;
  for (auto t = distinct.begin(); t != distinct.end(); ++t) {
    const index_type tp = count_at_least(id, *t);
    const auto above = std::next(t);
    if (tp == n && above != distinct.end() && count_at_least(id, *above) == n) continue;
    const index_type distance = std::abs(den * tp - num * n);
    if (best < 0 || distance < best) {
      best = distance;
      v.fpr.id_positive_nearest = fraction(count_at_least(ood, *t), m);
    }
  }
  return r;
}

}  // namespace brute_force
