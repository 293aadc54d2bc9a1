/// \file detector_record.hpp  The content of a detector file, on the host: plain data any tool can write.
#pragma once

#include <negood/feature/feature_parameters.hpp>
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
  /// mcm, msp, maxlogit, maxcosine, energy, neglabel, csp, adaneg, interneg, eoe, clipscope, negprompt, coop, or a
  /// feature map: krnft, nft, coft, taskres, ssf
  std::string method;
  std::vector<std::string> labels;          ///< name of every row of `positive`
  host_matrix<float> positive;              ///< `[C, D]`, unit rows; of any length with taskres and ssf
  host_matrix<float> negative;              ///< `[M, D]`, unit rows; no rows where the method needs none
  double logit_scale = 0;                   ///< exponentiated
  host_matrix<float> proxies{};             ///< `[C, D]`, mean image features of the classes (interneg, for its memory)
  std::optional<interneg_state> learned{};  ///< interneg: what a stream has learned; its memory holds more negatives
  index_type groups = 1;                    ///< runs of the negatives (neglabel, csp, feature maps)
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

  /// krnft, nft, coft, taskres, ssf: the map of the text features, applied to `positive` and `negative`.
  std::optional<feature_parameters<double>> tuned{};
};

/// True for the methods that score through a map of the text features (feature/feature_model.hpp).
inline bool has_feature_map(std::string_view method) {
  return method == "krnft" || method == "nft" || method == "coft" || method == "taskres" || method == "ssf";
}

/// Numbers of labels that each part of a map is applied to.
inline std::vector<index_type> labels_of_parts(const feature_model& model, index_type classes, index_type negatives) {
  if (model.partition == label_partition::binary) return {classes, negatives};
  return {classes + negatives};
}

/// The scorer a record asks for. CoOp's detector is MCM over learned positives. Throws negood.detector.1 for an unknown
/// method.
inline any_scorer scorer_of(const detector_record& r) {
  if (r.method == "mcm" || r.method == "coop") return mcm{r.temperature};
  if (r.method == "msp") return msp{};
  if (r.method == "maxlogit") return max_logit{};
  if (r.method == "maxcosine") return max_cosine{};
  if (r.method == "energy") return energy{};
  if (r.method == "negprompt") return mcm_with_negatives{r.temperature};
  if (r.method == "neglabel" || r.method == "csp" || r.method == "adaneg") return neg_label{};  // adaneg: S_nl
  if (r.method == "interneg") return neg_label{};  // Eq. 11 with an empty memory
  if (r.method == "eoe") return eoe{r.beta, r.temperature};
  if (r.method == "clipscope") return clipscope_score{};
  if (has_feature_map(r.method)) {  // over the transformed features; without negatives their largest probability
    if (r.negative.rows() > 0) return neg_label{};
    return msp{};
  }
  fail(error_category::artifact, "negood.detector.1", "detector", "unknown method \"" + r.method + "\"",
       "this version knows mcm, msp, maxlogit, maxcosine, energy, neglabel, csp, adaneg, interneg, eoe, clipscope, "
       "negprompt, coop, krnft, nft, coft, taskres and ssf");
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
         method == "interneg" || method == "clipscope" || method == "adaneg" || has_feature_map(method);
}
/// A unified feature map (coft, taskres, ssf) does with classes alone.
inline bool needs_negatives(std::string_view method) {
  return method == "negprompt" || method == "neglabel" || method == "csp" || method == "interneg" || method == "eoe" ||
         method == "clipscope" || method == "adaneg" || method == "krnft" || method == "nft";
}

/// Negatives to score with, `[M + k, D]`: those of the record, then those of its memory.
inline host_matrix<float> negatives_with_memory(const detector_record& r) {
  if (!r.learned || r.learned->memory.size() == 0) return r.negative;
  auto values = r.negative.values();
  const auto learned = r.learned->memory.features();
  values.insert(values.end(), learned.data, learned.data + learned.size());
  return host_matrix<float>(r.negative.rows() + learned.rows, learned.cols, std::move(values));
}

namespace detail {
/// Refuses a map that is missing, too much, or of another method, width or number of labels.
inline void check_feature_map(const detector_record& r) {
  const auto bad = [](std::string what, std::string_view hint) {
    fail(error_category::artifact, "negood.detector.12", "detector", std::move(what), hint);
  };
  if (!has_feature_map(r.method)) {
    if (r.tuned) bad("method " + r.method + " has a feature map", "take it out, or name the method of the map");
    return;
  }
  if (!r.tuned) bad("method " + r.method + " has no feature map", "store alpha, beta and the networks of its parts");
  const auto& map = *r.tuned;
  if (format_feature_model(map.model) != r.method)
    bad("method " + r.method + " has the feature map of " + std::string(format_feature_model(map.model)),
        "name the method of the map");
  if (map.width != r.positive.cols())
    bad("positive is " + shape_string(r.positive.rows(), r.positive.cols()) + ", the feature map is of width " +
            std::to_string(map.width),
        "widths must match");
  const auto labels = labels_of_parts(map.model, r.positive.rows(), r.negative.rows());
  if (map.parts.size() != labels.size())
    bad(std::to_string(map.parts.size()) + " parts of a feature map for " + std::to_string(labels.size()), "");
  for (std::size_t part = 0; part < labels.size(); ++part)
    for_each_tensor(map.parts[part], [&](const char* name, const host_matrix<double>& m) {
      const auto shape = parameter_shape(map.model, map.width, map.hidden, labels[part], name);
      if (m.rows() != shape.first || (m.rows() > 0 && m.cols() != shape.second))
        bad(map.part_name(part) + "." + name + " is " + shape_string(m.rows(), m.cols()) + ", not " +
                shape_string(shape.first, shape.second),
            map.model.per_label() ? "parameters of single labels belong to those labels" : "");
    });
}
}  // namespace detail

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
  detail::check_feature_map(r);
  if (r.threshold && !(*r.threshold < std::numeric_limits<double>::infinity()))  // -inf accepts everything
    bad("negood.detector.11", "the threshold is not a number below infinity", "calibrate again");
}

}  // namespace negood
