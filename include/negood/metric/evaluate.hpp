/// \file evaluate.hpp  AUROC, AUPR and FPR at a recall of ID scores against OOD scores; exact with ties.
#pragma once

#include <negood/metric/sorted_scores.hpp>
#include <negood/metric/tie_groups.hpp>

#include <optional>
#include <string>

namespace negood {

struct metric_options {
  double recall = 0.95;         ///< the TPR at which the FPR is taken, in (0, 1]
  bool allow_infinite = false;  ///< rank +-Inf like any other number
};

/// The metrics of one pair of sets, or the reason why there are none.
struct metric_report {
  index_type n_id = 0, n_ood = 0;
  double recall = 0.95;
  std::optional<metric_values> values;  ///< nothing when a set is empty
  std::string reason;                   ///< why `values` is empty
  index_type tied_pairs = 0;            ///< pairs (ID, OOD) of equal score
  bool degenerate = false;              ///< all scores are equal: AUROC is 1/2 and FPR is 1 whatever the data

  friend bool operator==(const metric_report&, const metric_report&) = default;
};

namespace detail {

/// The report before its values: counts, and the reason when a set is empty.
inline metric_report empty_report(index_type n_id, index_type n_ood, double recall) {
  require_share(recall, "negood.metric.3", "metrics", "recall");
  metric_report r;
  r.n_id = n_id;
  r.n_ood = n_ood;
  r.recall = recall;
  if (n_id == 0 || n_ood == 0)
    r.reason = n_id == 0 && n_ood == 0 ? "both sets are empty"
               : n_id == 0             ? "the ID set is empty"
                                       : "the OOD set is empty";
  return r;
}

template <class Real>
metric_report evaluate_spans(std::span<const Real> id, std::span<const Real> ood, metric_options options);

}  // namespace detail

/// All metrics of two sorted sets in one walk: O(N + M), no allocation beyond a fixed block.
template <class Real>
metric_report evaluate(const sorted_scores<Real>& id, const sorted_scores<Real>& ood, metric_options options = {}) {
  metric_report r = detail::empty_report(id.size(), ood.size(), options.recall);
  if (!r.reason.empty()) return r;
  detail::group_accumulator sums(id.size(), ood.size(), options.recall);
  detail::merge_groups(id.keys(), id.size(), ood.keys(), ood.size(), sums);
  r.values = sums.values();
  r.tied_pairs = sums.tied_pairs();
  r.degenerate = id[0] == ood[0] && id[id.size() - 1] == id[0] && ood[ood.size() - 1] == ood[0];
  return r;
}

template <class Real>
metric_report detail::evaluate_spans(std::span<const Real> id, std::span<const Real> ood, metric_options options) {
  const score_options scores{options.allow_infinite};
  return negood::evaluate(sorted_scores<Real>(id, "the ID set", scores),
                          sorted_scores<Real>(ood, "the OOD set", scores), options);
}

/// All metrics of ID scores against OOD scores (higher = more ID), sorted once. An empty set gives a report without
/// values and with the reason. Throws negood.metric.1 on NaN, .2 on Inf, .3 on a recall outside (0, 1], .4 when the
/// pairs overflow. Equal to scikit-learn's roc_auc_score, auc(precision_recall_curve) and average_precision_score, ties
/// and all.
inline metric_report evaluate(std::span<const float> id, std::span<const float> ood, metric_options options = {}) {
  return detail::evaluate_spans(id, ood, options);
}
inline metric_report evaluate(std::span<const double> id, std::span<const double> ood, metric_options options = {}) {
  return detail::evaluate_spans(id, ood, options);
}

/// How AUROC counts a pair of equal scores.
enum class tie_rule { half, strict };

/// AUROC = P(s_id > s_ood) + P(s_id = s_ood)/2, ID positive (the value is the same with OOD positive and negated
/// scores); `tie_rule::strict` drops the second term, as the released NegPrompt code does. Nothing when a set is empty.
template <class Id, class Ood>
std::optional<double> auroc(const Id& id, const Ood& ood, tie_rule ties = tie_rule::half) {
  const metric_report r = evaluate(id, ood);
  if (!r.values) return std::nullopt;
  return ties == tie_rule::half ? r.values->auroc : r.values->auroc_strict;
}

/// FPR at the wanted recall in a named convention. Nothing when a set is empty.
template <class Id, class Ood>
std::optional<double> fpr_at_tpr(const Id& id, const Ood& ood, double recall = 0.95,
                                 fpr_convention convention = fpr_convention::id_positive_nearest) {
  const metric_report r = evaluate(id, ood, {.recall = recall});
  if (!r.values) return std::nullopt;
  return r.values->fpr[convention];
}

enum class positive_class { id, ood };
enum class pr_interpolation { trapezoid, step };

/// Area under precision and recall. `step` is the average precision. Nothing when a set is empty.
template <class Id, class Ood>
std::optional<double> aupr(const Id& id, const Ood& ood, positive_class positive = positive_class::id,
                           pr_interpolation interpolation = pr_interpolation::step) {
  const metric_report r = evaluate(id, ood);
  if (!r.values) return std::nullopt;
  const metric_values& v = *r.values;
  if (positive == positive_class::id)
    return interpolation == pr_interpolation::step ? v.aupr_in_step : v.aupr_in_trapezoid;
  return interpolation == pr_interpolation::step ? v.aupr_out_step : v.aupr_out_trapezoid;
}

/// The plain mean over OOD sets, as the papers average; nothing when there is no set or one of them has no values.
inline std::optional<metric_values> mean(std::span<const metric_report> reports) {
  if (reports.empty()) return std::nullopt;
  metric_values sum;
  for (const metric_report& r : reports) {
    if (!r.values) return std::nullopt;
    const metric_values& v = *r.values;
    sum.auroc += v.auroc;
    sum.auroc_strict += v.auroc_strict;
    sum.aupr_in_trapezoid += v.aupr_in_trapezoid;
    sum.aupr_in_step += v.aupr_in_step;
    sum.aupr_out_trapezoid += v.aupr_out_trapezoid;
    sum.aupr_out_step += v.aupr_out_step;
    sum.fpr.id_positive_nearest += v.fpr.id_positive_nearest;
    sum.fpr.id_positive_first += v.fpr.id_positive_first;
    sum.fpr.ood_positive_first += v.fpr.ood_positive_first;
  }
  const double n = static_cast<double>(reports.size());
  return metric_values{
      sum.auroc / n,
      sum.auroc_strict / n,
      sum.aupr_in_trapezoid / n,
      sum.aupr_in_step / n,
      sum.aupr_out_trapezoid / n,
      sum.aupr_out_step / n,
      {sum.fpr.id_positive_nearest / n, sum.fpr.id_positive_first / n, sum.fpr.ood_positive_first / n}};
}

}  // namespace negood
