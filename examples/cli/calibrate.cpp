// negood calibrate: a threshold from ID scores.
#include "commands.hpp"
#include "scores_file.hpp"

#include <negood/io/detector.hpp>

namespace negood::cli {

int run_calibrate(const calibrate_options& o) {
  auto record = load_detector_record(o.detector);
  const auto scores = read_scores(o.common, o.scores, o.nan);
  const auto t =
      calibrate_threshold(std::span<const double>(scores),
                          {.id_recall = o.id_recall, .conformal_alpha = o.conformal_alpha, .confidence = o.confidence});
  apply_threshold(record, t);
  save(record, o.out);
  if (!t.explanation.empty()) note(o.common, t.explanation);
  say(o.common, "threshold " + detail::threshold_text(t.threshold) + " (" + record.threshold_policy + "): accepts " +
                    std::to_string(t.accepted) + " of " + std::to_string(t.n) + " ID scores, recall " +
                    format_fixed(t.achieved_recall, 4) + ", " + format_number(100 * o.confidence) +
                    " % confidence interval [" + format_fixed(t.recall_interval.lower, 4) + ", " +
                    format_fixed(t.recall_interval.upper, 4) + "]");
  if (t.ties_at_boundary > 0)
    say(o.common, std::to_string(t.ties_at_boundary) + " further scores equal the threshold; all are accepted");
  ordered_json j{{"out", o.out}};
  j["threshold"] = std::isfinite(t.threshold) ? ordered_json(t.threshold) : ordered_json(nullptr);
  j["accepts_everything"] = !std::isfinite(t.threshold);
  j["policy"] = t.policy;
  j["level"] = t.level;
  j["n"] = t.n;
  j["accepted"] = t.accepted;
  j["ties_at_boundary"] = t.ties_at_boundary;
  j["achieved_recall"] = t.achieved_recall;
  j["confidence"] = o.confidence;
  j["recall_interval"] = {t.recall_interval.lower, t.recall_interval.upper};
  if (!t.explanation.empty()) j["explanation"] = t.explanation;
  result(o.common, j);
  return 0;
}

}  // namespace negood::cli
