/// \file detector.hpp  A scorer, its text features, its class names and its threshold: what a program ships.
#pragma once

#include <negood/detector/detector_record.hpp>
#include <negood/detector/threshold.hpp>
#include <negood/feature/check.hpp>
#include <negood/feature/tuned_scorer.hpp>
#include <negood/math/normalise.hpp>
#include <negood/score/scores.hpp>

#include <charconv>
#include <cmath>
#include <utility>

namespace negood {

/// What a detector says of one image.
struct answer {
  std::string label;  ///< the most similar class, also for unknown images
  index_type label_index = 0;
  double score = 0;         ///< higher = more in-distribution
  bool is_unknown = false;  ///< score below the threshold
};

/// Scores images against a bank and compares with a threshold. Text features are packed once, at construction.
template <Backend B>
class detector {
 public:
  using real = real_t<B>;

  detector(B& ctx, detector_record record) : ctx_(&ctx), record_(std::move(record)), score_(scorer_of(record_)) {
    check_record(record_);
    if (record_.tuned) {
      const auto classes = cast<real>(record_.positive), negatives = cast<real>(record_.negative);
      tuned_.emplace(
          ctx, cast_parameters<real>(*record_.tuned),
          make_label_set(ctx, record_.tuned->model, classes.view(), negatives.view(), {.groups = record_.groups}),
          record_.logit_scale);
      return;
    }
    const auto device = [&](const host_matrix<float>& m) { return ctx.from_host(cast<real>(m).view()); };
    bank_.emplace(make_prompt_bank(ctx, device(record_.positive), device(negatives_with_memory(record_)),
                                   record_.logit_scale, record_.groups));
  }

  const detector_record& record() const noexcept { return record_; }
  detector_record& record() noexcept { return record_; }
  /// The packed text features; there is none where a feature map makes them anew for every image.
  const prompt_bank<B>& bank() const noexcept { return *bank_; }
  /// The feature map bound to the labels, where the method has one.
  const std::optional<tuned_scorer<B>>& tuned() const noexcept { return tuned_; }

  /// Scores of `[N, D]` features, checked and normalised first; a block of images at a time, so that memory does not
  /// grow with N. NaN, infinite and zero rows follow `policy` (F-01 to F-04).
  std::vector<double> score(host_matrix<real> features, const feature_options& policy = {}) const {
    const auto report = check(features, policy);
    std::vector<double> out;
    if (tuned_)
      out = tuned_scores((*tuned_)(*ctx_, features.view()));
    else
      for_each_block(features, [&](const tensor_t<B>& images) {
        const auto s = std::visit([&](const auto& scorer) { return scorer(*ctx_, images, *bank_); }, score_);
        const auto values = ctx_->to_host(s);
        for (const real v : values.values()) out.push_back(published(static_cast<double>(v)));
      });
    mark_scores<double>(out, report);
    return out;
  }

  /// Index of the most similar class of every row.
  std::vector<index_type> predict(host_matrix<real> features, const feature_options& policy = {}) const {
    check(features, policy);
    if (tuned_) return (*tuned_)(*ctx_, features.view()).predicted;
    std::vector<index_type> out;
    for_each_block(features, [&](const tensor_t<B>& images) {
      const auto labels = negood::predict(*ctx_, images, *bank_);
      out.insert(out.end(), labels.begin(), labels.end());
    });
    return out;
  }

  /// Label, score, known or unknown, for every row. Throws negood.detector.2 without a threshold.
  std::vector<answer> decide_all(const host_matrix<real>& features) const {
    if (!record_.threshold)
      fail(error_category::usage, "negood.detector.2", "decide", "the detector has no threshold", "calibrate it first");
    const auto scores = score(features);
    const auto labels = predict(features);
    std::vector<answer> out;
    for (std::size_t i = 0; i < scores.size(); ++i)
      out.push_back(
          {record_.labels[static_cast<std::size_t>(labels[i])], labels[i], scores[i], scores[i] < *record_.threshold});
    return out;
  }
  /// The same for one image's feature, `[1, D]`.
  answer decide(const host_matrix<real>& feature) const { return decide_all(feature).at(0); }

 private:
  feature_report check(host_matrix<real>& features, const feature_options& policy) const {
    check_same_width(features.cols(), "image features", record_.positive.cols(), "the detector");
    return check_features(features, policy, "image features");
  }
  // NegLabel ranks by log-odds; what a user sees is S in [0, 1], in double so that it does not saturate early.
  double published(double v) const {
    return std::holds_alternative<neg_label>(score_) ? probability_of_log_odds(v) : v;
  }

  // The same over transformed features: S of NegLabel, or without negatives the largest probability of a class.
  static std::vector<double> tuned_scores(const tuned_statistics& s) {
    if (s.groups.cols() == 0) return largest_probabilities(s);
    auto out = grouped_log_odds(s);
    for (double& v : out) v = probability_of_log_odds(v);
    return out;
  }

  template <class F>
  void for_each_block(const host_matrix<real>& features, F&& f) const {
    constexpr index_type block = 4096;
    for (index_type first = 0; first < features.rows(); first += block)
      f(ctx_->from_host(features.view().slice_rows(first, std::min(block, features.rows() - first))));
  }

  B* ctx_;
  detector_record record_;
  any_scorer score_;
  std::optional<prompt_bank<B>> bank_;
  std::optional<tuned_scorer<B>> tuned_;
};

/// A detector from a bank, the names its positives stand for, and a scorer.
template <Backend B, class S>
detector<B> make_detector(B& ctx, const prompt_bank<B>& bank, std::vector<std::string> labels, const S& scorer) {
  detector_record r;
  r.method = std::string(method_name(scorer));
  r.temperature = temperature_of(scorer);
  if constexpr (std::is_same_v<S, eoe>) r.beta = scorer.beta;
  r.labels = std::move(labels);
  r.positive = cast<float>(ctx.to_host(bank.positive));
  r.negative = cast<float>(ctx.to_host(bank.negative));
  r.logit_scale = bank.logit_scale;
  r.groups = std::max<index_type>(1, static_cast<index_type>(bank.packed_groups.size()));
  return detector<B>(ctx, std::move(r));
}

/// Puts a trained map into a record, as a file holds it: alpha = 1 + delta in double, so that what is scored with now
/// is what will be read again.
template <class Real>
void attach_features(detector_record& r, const tuned_features<Real>& tuned) {
  const auto& p = tuned.parameters;
  const auto classes = r.positive.rows(), negatives = r.negative.rows();
  r.method = std::string(format_feature_model(p.model));
  r.tuned = feature_parameters_of<double>(p.model, p.tensors(), p.width, p.hidden,
                                          labels_of_parts(p.model, classes, negatives));
  r.logit_scale = tuned.logit_scale;
  r.encoder_fingerprint = tuned.encoder_fingerprint;
  r.seed = tuned.seed;
}

/// Writes a calibrated threshold and how it came about ("id_recall=0.95 n=1000") into a record.
inline void apply_threshold(detector_record& r, const calibrated_threshold& t) {
  char level[32];
  const auto end = std::to_chars(level, level + sizeof level, t.level).ptr;
  r.threshold = t.threshold;
  r.threshold_policy = t.policy + "=" + std::string(level, end) + " n=" + std::to_string(t.n);
}

/// Sets the threshold from the scores of ID images (never from OOD images): with `id_recall` r, at least a share r of
/// them is accepted. Calibrate on images the detector did not learn from, or expect the recall on new ones to be lower.
template <Backend B>
calibrated_threshold calibrate(detector<B>& d, const host_matrix<real_t<B>>& id_features,
                               const threshold_options& options = {}) {
  const auto t = calibrate_threshold(std::span<const double>(d.score(id_features)), options);
  apply_threshold(d.record(), t);
  return t;
}

}  // namespace negood
