/// \file accuracy.hpp  Closed-set accuracy, OSCR and detection accuracy.
#pragma once

#include <negood/metric/evaluate.hpp>

namespace negood {

namespace detail {
inline void require_same_length(std::size_t a, std::size_t b, std::string_view where, std::string_view names) {
  if (a != b)
    fail(error_category::data, "negood.metric.5", where, std::to_string(a) + " and " + std::to_string(b) + " values",
         std::string(names) + " must have the same length");
}
}  // namespace detail

/// Share of predictions equal to the label, over ID samples only; nothing when there is none.
template <class Label>
std::optional<double> accuracy(std::span<const Label> predictions, std::span<const Label> labels) {
  detail::require_same_length(predictions.size(), labels.size(), "accuracy", "predictions and labels");
  if (labels.empty()) return std::nullopt;
  index_type correct = 0;
  for (std::size_t i = 0; i < labels.size(); ++i) correct += predictions[i] == labels[i];
  return detail::quotient(correct, static_cast<index_type>(labels.size()));
}
inline std::optional<double> accuracy(std::span<const index_type> predictions, std::span<const index_type> labels) {
  return accuracy<index_type>(predictions, labels);
}

/// OSCR: the area under correct classification rate over FPR, equal to
/// P(correct and s_id > s_ood) + P(correct and s_id = s_ood)/2, taken from sorted scores by prefix counts.
/// The released code's sum is quadratic and shifts one of the two curves by a sample; this is the area itself.
template <class Real>
std::optional<double> oscr(std::span<const Real> id, const std::vector<bool>& correct, std::span<const Real> ood) {
  detail::require_same_length(id.size(), correct.size(), "oscr", "ID scores and correctness");
  std::vector<Real> kept;
  for (std::size_t i = 0; i < id.size(); ++i)
    if (correct[i]) kept.push_back(id[i]);
  const sorted_scores<Real> all(id, "the ID set");  // refuses NaN in rows that are not kept, too
  const metric_report r =
      evaluate(sorted_scores<Real>(std::span<const Real>(kept)), sorted_scores<Real>(ood, "the OOD set"));
  if (all.empty() || r.n_ood == 0) return std::nullopt;
  if (!r.values) return 0.0;
  return r.values->auroc * detail::quotient(r.n_id, all.size());
}

/// The best mean of TPR and TNR over all thresholds: max_t (P(s_id >= t) + P(s_ood < t)) / 2.
template <class Real>
std::optional<double> detection_accuracy(const sorted_scores<Real>& id, const sorted_scores<Real>& ood) {
  if (id.empty() || ood.empty()) return std::nullopt;
  const index_type n = id.size(), m = ood.size();
  double best = 0.5;
  for (index_type i = 0, j = 0; i < n || j < m;) {
    const auto key = std::min(id.keys()[i], ood.keys()[j]);
    while (id.keys()[i] == key) ++i;
    while (ood.keys()[j] == key) ++j;
    best = std::max(best, (detail::quotient(n - i, n) + detail::quotient(j, m)) / 2);
  }
  return best;
}

}  // namespace negood
