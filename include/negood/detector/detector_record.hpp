/// \file detector_record.hpp  The content of a detector file, on the host: plain data any tool can write.
#pragma once

#include <negood/score/scores.hpp>
#include <negood/stream/memory_guards.hpp>

#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <vector>

namespace negood {

/// Fields of the format `negood.detector/1`; only `method`, `labels`, `positive` and `logit_scale` are required.
struct detector_record {
  /// mcm, msp, maxlogit, maxcosine, energy, neglabel, csp, interneg, eoe, clipscope, negprompt or coop
  std::string method;
  std::vector<std::string> labels;          ///< name of every row of `positive`
  host_matrix<float> positive;              ///< `[C, D]`, unit rows
  host_matrix<float> negative;              ///< `[M, D]`, unit rows; no rows where the method needs none
  double logit_scale = 0;                   ///< exponentiated
  host_matrix<float> proxies{};             ///< `[C, D]`, mean image features of the classes (interneg, for its memory)
  std::optional<interneg_state> learned{};  ///< interneg: what a stream has learned; its memory holds more negatives
  index_type groups = 1;                    ///< runs of the negatives (neglabel, csp)
  double temperature = 1;                   ///< mcm, negprompt, coop, eoe
  double beta = 0.25;                       ///< eoe, weight of the imagined labels
  std::string options = "{}";               ///< how it was made, JSON
  std::optional<double> threshold{};
  std::string threshold_policy{};
  std::string encoder_fingerprint{};
  std::string labels_sha256{};
  std::optional<std::uint64_t> seed{};
  std::string created_by{};

  // NegPrompt: the contexts, so that the detector can be bound to other names.
  host_matrix<float> ctx_positive{};  ///< `[n, d]`
  host_matrix<float> ctx_negative{};  ///< `[p n, d]`; `[p, n, d]` in the file
  index_type ctx_prompts = 0;         ///< p
  std::string suffix{};
};

/// The scorer a record asks for. CoOp's detector is MCM over learned positives. Throws negood.detector.1 for an unknown
/// method.
inline any_scorer scorer_of(const detector_record& r) {
  if (r.method == "mcm" || r.method == "coop") return mcm{r.temperature};
  if (r.method == "msp") return msp{};
  if (r.method == "maxlogit") return max_logit{};
  if (r.method == "maxcosine") return max_cosine{};
  if (r.method == "energy") return energy{};
  if (r.method == "negprompt") return mcm_with_negatives{r.temperature};
  if (r.method == "neglabel" || r.method == "csp") return neg_label{};
  if (r.method == "interneg") return neg_label{};  // Eq. 11 with an empty memory
  if (r.method == "eoe") return eoe{r.beta, r.temperature};
  if (r.method == "clipscope") return clipscope_score{};
  fail(error_category::artifact, "negood.detector.1", "detector", "unknown method \"" + r.method + "\"",
       "this version knows mcm, msp, maxlogit, maxcosine, energy, neglabel, csp, interneg, eoe, clipscope, negprompt "
       "and "
       "coop");
}

inline std::string_view method_name(const max_cosine&) { return "maxcosine"; }
inline std::string_view method_name(const max_logit&) { return "maxlogit"; }
inline std::string_view method_name(const mcm&) { return "mcm"; }
inline std::string_view method_name(const msp&) { return "msp"; }
inline std::string_view method_name(const energy&) { return "energy"; }
inline std::string_view method_name(const mcm_with_negatives&) { return "negprompt"; }
inline std::string_view method_name(const neg_label&) { return "neglabel"; }
inline std::string_view method_name(const eoe&) { return "eoe"; }
inline std::string_view method_name(const clipscope_score&) { return "clipscope"; }

/// The temperature a scorer divides cosines by; 1 for those that use the model's scale.
template <class S>
double temperature_of(const S& s) {
  if constexpr (requires { s.temperature; })
    return s.temperature;
  else
    return 1.0;
}

/// True if the method's score reads the model's logit scale.
inline bool needs_logit_scale(std::string_view method) {
  return method == "msp" || method == "maxlogit" || method == "energy" || method == "neglabel" || method == "csp" ||
         method == "interneg" || method == "clipscope";
}
inline bool needs_negatives(std::string_view method) {
  return method == "negprompt" || method == "neglabel" || method == "csp" || method == "interneg" || method == "eoe" ||
         method == "clipscope";
}

/// Negatives to score with, `[M + k, D]`: those of the record, then those of its memory.
inline host_matrix<float> negatives_with_memory(const detector_record& r) {
  if (!r.learned || r.learned->memory.size() == 0) return r.negative;
  auto values = r.negative.values();
  const auto learned = r.learned->memory.features();
  values.insert(values.end(), learned.data, learned.data + learned.size());
  return host_matrix<float>(r.negative.rows() + learned.rows, learned.cols, std::move(values));
}

/// Refuses a record that cannot score: no class, widths that differ, a missing scale or negatives (F-06, F-08, F-09,
/// F-20).
inline void check_record(const detector_record& r) {
  const auto bad = [](const char* code, std::string what, std::string_view hint) {
    fail(error_category::artifact, code, "detector", std::move(what), hint);
  };
  scorer_of(r);
  if (r.positive.rows() == 0) bad("negood.detector.3", "there is no class", "positive must be [C, D] with C >= 1");
  if (static_cast<index_type>(r.labels.size()) != r.positive.rows())
    bad("negood.detector.4",
        std::to_string(r.labels.size()) + " labels for positive " + shape_string(r.positive.rows(), r.positive.cols()),
        "one label a row");
  if (r.negative.rows() > 0 && r.negative.cols() != r.positive.cols())
    bad("negood.detector.5",
        "positive is " + shape_string(r.positive.rows(), r.positive.cols()) + ", negative is " +
            shape_string(r.negative.rows(), r.negative.cols()),
        "widths must match");
  if (r.proxies.rows() > 0 && (r.proxies.rows() != r.positive.rows() || r.proxies.cols() != r.positive.cols()))
    bad("negood.detector.5",
        "positive is " + shape_string(r.positive.rows(), r.positive.cols()) + ", proxies is " +
            shape_string(r.proxies.rows(), r.proxies.cols()),
        "one proxy a class, of the same width");
  if (r.learned && r.learned->memory.width() != r.positive.cols())
    bad("negood.detector.5",
        "positive is " + shape_string(r.positive.rows(), r.positive.cols()) + ", memory is " +
            shape_string(r.learned->memory.size(), r.learned->memory.width()),
        "widths must match");
  if (needs_negatives(r.method) && r.negative.rows() == 0)
    bad("negood.detector.6", "method " + r.method + " has no negatives", "use mcm, which needs none");
  if (r.positive.rows() == 1 && (r.method == "mcm" || r.method == "msp" || r.method == "coop"))
    bad("negood.detector.7", "with one class " + r.method + " is constant 1", "use maxcosine, energy or neglabel");
  if (needs_logit_scale(r.method) && !(r.logit_scale > 0 && std::isfinite(r.logit_scale)))
    bad("negood.detector.8", "method " + r.method + " needs a logit scale, found " + std::to_string(r.logit_scale),
        "give the exponentiated scale, 100 for released models");
  if (!(r.temperature > 0 && std::isfinite(r.temperature)))
    bad("negood.detector.9", "the temperature is " + std::to_string(r.temperature), "it must be positive");
  if (!(r.beta >= 0 && std::isfinite(r.beta)))
    bad("negood.detector.9", "beta is " + std::to_string(r.beta), "it must not be negative");
  if (r.groups < 1 || (r.negative.rows() > 0 && r.groups > r.negative.rows()))
    bad("negood.detector.10",
        std::to_string(r.groups) + " groups of " + std::to_string(r.negative.rows()) + " negatives",
        "use between 1 and M groups");
  if (r.threshold && !(*r.threshold < std::numeric_limits<double>::infinity()))  // -inf accepts everything
    bad("negood.detector.11", "the threshold is not a number below infinity", "calibrate again");
}

}  // namespace negood
