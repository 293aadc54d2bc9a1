/// \file threshold.hpp  A decision threshold from ID scores alone: accept an image as known when score >= threshold.
#pragma once

#include <negood/metric/convention.hpp>
#include <negood/metric/sorted_scores.hpp>

#include <optional>
#include <string>

namespace negood {

/// Lower and upper bound of a proportion.
struct confidence_interval {
  double lower = 0;
  double upper = 1;

  friend bool operator==(const confidence_interval&, const confidence_interval&) = default;
};

namespace detail {

/// log Gamma(x) for x > 0: Stirling's series above 12, the recurrence below. std::lgamma writes a global.
inline double log_gamma(double x) noexcept {
  double product = 1;
  while (x < 12) product *= x++;
  const double y = 1 / (x * x);
  const double series =
      (1.0 / 12 - y * (1.0 / 360 - y * (1.0 / 1260 - y * (1.0 / 1680 - y * (1.0 / 1188 - y * 691.0 / 360360))))) / x;
  return (x - 0.5) * std::log(x) - x + 0.91893853320467274178 + series - std::log(product);
}

/// I_x(a, b), the regularised incomplete beta function, by Lentz's evaluation of its continued fraction.
inline double incomplete_beta(double a, double b, double x) noexcept {
  if (x <= 0) return 0;
  if (x >= 1) return 1;
  if (x > (a + 1) / (a + b + 2)) return 1 - incomplete_beta(b, a, 1 - x);  // there the fraction converges fast
  const double front =
      std::exp(log_gamma(a + b) - log_gamma(a) - log_gamma(b) + a * std::log(x) + b * std::log1p(-x)) / a;
  constexpr double tiny = 1e-300;
  const auto safe = [](double v) { return std::abs(v) < tiny ? tiny : v; };
  double c = 1, d = 1 / safe(1 - (a + b) * x / (a + 1)), f = d;
  for (int k = 1; k < 100000; ++k) {  // about sqrt(max(a, b)) steps
    const double m = k, even = m * (b - m) * x / ((a + 2 * m - 1) * (a + 2 * m));
    d = 1 / safe(1 + even * d);
    c = safe(1 + even / c);
    f *= c * d;
    const double odd = -(a + m) * (a + b + m) * x / ((a + 2 * m) * (a + 2 * m + 1));
    d = 1 / safe(1 + odd * d);
    c = safe(1 + odd / c);
    f *= c * d;
    if (std::abs(c * d - 1) < 1e-15) break;
  }
  return front * f;
}

/// The x with I_x(a, b) = p, by bisection down to neighbouring doubles.
inline double beta_quantile(double p, double a, double b) noexcept {
  double low = 0, high = 1;
  for (int i = 0; i < 200; ++i) {
    const double middle = low + (high - low) / 2;
    if (middle <= low || middle >= high) break;
    (incomplete_beta(a, b, middle) < p ? low : high) = middle;
  }
  return low + (high - low) / 2;
}

}  // namespace detail

/// The exact (Clopper-Pearson) interval of a proportion of which `successes` of `trials` were seen:
/// lower = B^-1(a/2; k, n-k+1), upper = B^-1(1-a/2; k+1, n-k), a = 1 - confidence. Never too narrow, at times too wide.
/// Throws negood.threshold.3 on a confidence outside (0, 1) and negood.threshold.4 on counts that make no proportion.
inline confidence_interval clopper_pearson(index_type successes, index_type trials, double confidence = 0.95) {
  if (!(confidence > 0 && confidence < 1))
    fail(error_category::usage, "negood.threshold.3", "clopper_pearson", "the confidence is not in (0, 1)");
  if (trials < 1 || successes < 0 || successes > trials)
    fail(error_category::usage, "negood.threshold.4", "clopper_pearson",
         std::to_string(successes) + " of " + std::to_string(trials) + " is no proportion");
  const double half = (1 - confidence) / 2, k = static_cast<double>(successes), n = static_cast<double>(trials);
  return {successes == 0 ? 0.0 : detail::beta_quantile(half, k, n - k + 1),
          successes == trials ? 1.0 : detail::beta_quantile(1 - half, k + 1, n - k)};
}

struct threshold_options {
  double id_recall = 0.95;                     ///< wanted share of ID scores at or above the threshold, in (0, 1]
  std::optional<double> conformal_alpha = {};  ///< if set, the split-conformal rule at this level instead, in (0, 1]
  double confidence = 0.95;                    ///< of the interval around the achieved recall
  bool allow_infinite = false;                 ///< rank +-Inf like any other number
};

struct calibrated_threshold {
  double threshold = 0;             ///< accept when score >= threshold; -Inf accepts everything
  std::string policy;               ///< "id_recall" or "conformal"
  double level = 0;                 ///< the wanted recall, or alpha
  index_type n = 0;                 ///< ID scores used
  index_type accepted = 0;          ///< of them at or above the threshold
  index_type ties_at_boundary = 0;  ///< further ID scores equal to the one that sets the threshold; all are accepted
  double achieved_recall = 0;       ///< accepted / n
  confidence_interval recall_interval;  ///< Clopper-Pearson, of the recall on new ID data of the same kind
  std::string explanation;              ///< why the threshold is -Inf, else empty
};

/// A threshold from ID scores (higher = more ID); OOD scores are not needed.
///
/// `id_recall` r: the ceil(r n)-th largest score, the highest threshold with at least a share r of the ID scores at or
/// above. `conformal_alpha` a (split conformal): the floor((n+1) a)-th smallest score t. Exchangeability gives a new ID
/// image
///   P(score < t) <= a for any distribution, ties included; with fewer than 1/a - 1 scores no finite t has this
///   property and the threshold is -Inf, with an explanation.
/// Equal scores fall on one side (accept). A float score gives a double threshold of the same value.
///
/// Numerics: shares are compared as correctly rounded quotients, so 0.95 of 20 scores is 19. The interval is exact for
/// a threshold fixed beforehand; for one set by these very scores its lower bound stays exact and its upper is a little
/// wide. Throws negood.threshold.1 without ID scores (F-52), .2 on a level outside (0, 1], .3 on a confidence outside
/// (0, 1), negood.metric.1 and .2 on NaN and Inf. Some published code picks the extreme score when no OOD data is there
/// and then rejects, or accepts, everything.
template <class Real>
calibrated_threshold calibrate_threshold(const sorted_scores<Real>& id, const threshold_options& options = {}) {
  const bool conformal = options.conformal_alpha.has_value();
  const double level = conformal ? *options.conformal_alpha : options.id_recall;
  detail::require_share(level, "negood.threshold.2", "calibrate_threshold",
                        conformal ? "conformal_alpha" : "id_recall");
  if (id.empty())
    fail(error_category::data, "negood.threshold.1", "calibrate_threshold", "there are no ID scores",
         "a threshold is a quantile of ID scores; OOD scores alone cannot set it");
  calibrated_threshold t;
  t.policy = conformal ? "conformal" : "id_recall";
  t.level = level;
  t.n = id.size();
  // The place, counted from 0 upwards, of the score that sets the threshold.
  index_type place = t.n - detail::smallest_count(t.n, level);
  if (conformal) place = std::min(detail::largest_count(t.n + 1, level), t.n) - 1;
  if (place < 0) {
    t.threshold = -std::numeric_limits<double>::infinity();
    t.accepted = t.n;
    t.explanation = std::to_string(t.n) + " ID scores are too few for this alpha: it takes at least " +
                    std::to_string(static_cast<index_type>(std::ceil(1 / level)) - 1) + ", so everything is accepted";
  } else {
    const auto* first = std::lower_bound(id.keys(), id.keys() + t.n, id.keys()[place]);
    const auto* last = std::upper_bound(first, id.keys() + t.n, id.keys()[place]);
    t.threshold = static_cast<double>(id[place]);
    t.accepted = id.keys() + t.n - first;
    t.ties_at_boundary = last - first - 1;
  }
  t.achieved_recall = detail::quotient(t.accepted, t.n);
  t.recall_interval = clopper_pearson(t.accepted, t.n, options.confidence);
  return t;
}

inline calibrated_threshold calibrate_threshold(std::span<const float> id, const threshold_options& options = {}) {
  return calibrate_threshold(sorted_scores<float>(id, "the ID set", {options.allow_infinite}), options);
}
inline calibrated_threshold calibrate_threshold(std::span<const double> id, const threshold_options& options = {}) {
  return calibrate_threshold(sorted_scores<double>(id, "the ID set", {options.allow_infinite}), options);
}

}  // namespace negood
