// negood fit: zero-shot detectors and those with negative words, which learn nothing. Learned prompts are in
// fit_prompts.cpp, feature maps in fit_krnft.cpp.
#include "fit_negatives.hpp"
#include "stream_settings.hpp"

#include <negood/io/detector.hpp>

namespace negood::cli {

namespace {

/// The scale of softmax scores: as given, else the model's; methods on plain cosines need none (F-20).
template <Backend B>
double scale_for(text_encoder<B>& model, const fit_options& o) {
  if (o.logit_scale) {
    if (const auto warning = clip::check_logit_scale(*o.logit_scale, "--logit-scale"); !warning.empty())
      note(o.common, warning);
    return *o.logit_scale;
  }
  if (model.given() && !std::isnan(model.get().logit_scale)) return clip::require_logit_scale(model.get(), o.model);
  if (needs_logit_scale(o.method))
    fail(error_category::usage, "negood.detector.8", "fit", "method " + o.method + " needs a logit scale",
         "--logit-scale 100 is that of the published weights");
  return 1;
}

/// Runs of the negatives: NegLabel's default is one; CSP's 100 and AdaNeg's 5, where there are that many.
index_type groups_of(const fit_options& o, index_type negatives) {
  if (o.method == "neglabel") return o.words.groups.value_or(1);
  if (o.method == "csp") return o.words.groups.value_or(negatives >= 100 ? 100 : 1);
  if (o.method == "adaneg") return o.words.groups.value_or(negatives >= 5 ? 5 : 1);
  return 1;
}

template <Backend B>
int fit_zero_shot(B& ctx, const fit_options& o) {
  text_encoder<B> model(ctx, o);
  if (o.text_features.empty() && !model.given())
    fail(error_category::usage, "negood.cli.5", "fit", "--model is missing",
         "or give the classes' text features with --text-features");
  auto classes = class_texts(model, o);
  detector_record r;
  r.method = o.method;
  r.temperature = o.temperature.value_or(1.0);
  r.logit_scale = scale_for(model, o);
  r.seed = o.common.seed;
  ordered_json options{
      {"templates", o.text_features.empty() ? ordered_json(o.text.patterns()) : ordered_json(nullptr)}};
  if (needs_negatives(o.method)) {
    auto negatives = negatives_of(ctx, model, o, classes);
    r.negative = std::move(negatives.words.features);
    r.proxies = std::move(negatives.proxies);
    r.groups = groups_of(o, r.negative.rows());
    if (o.method == "eoe") r.beta = o.beta.value_or(r.beta);
    if (!negatives.words.names.empty()) options["negative_words"] = negatives.words.names;
    if (!negatives.templates.is_null()) options["negative_templates"] = negatives.templates;
    if (!negatives.selection.is_null()) options["selection"] = negatives.selection;
  }
  std::string fingerprint = model.given() ? model.get().fingerprint : std::string();
  for (const auto& file : {o.text_features, o.words.negative_features}) {
    if (file.empty()) continue;
    const auto other = fingerprint_of_features(file);
    if (check_encoder(o.common, other, file, fingerprint, "the rest", o.force_encoder))
      options["forced_encoder"] = true;
    if (fingerprint.empty()) fingerprint = other;
  }
  r.encoder_fingerprint = fingerprint;
  r.labels = std::move(classes.names);
  r.positive = std::move(classes.features);
  if (r.negative.rows() == 0) r.negative = host_matrix<float>(0, r.positive.cols());
  r.options = dump_json(options);
  if (o.method == "interneg") {  // what `score --stream` starts from
    score_options stream;
    stream.common = o.common;
    if (o.beta) stream.stream.beta = format_number(*o.beta);
    stream.stream.capacity = o.memory;
    stream.stream.steps = o.steps;
    stream.stream.templates = o.inversion_texts;
    attach_settings(r, interneg_settings(stream, r));
  }
  save(r, o.out);
  say(o.common, escape(o.out) + ": " + r.method + " over " + std::to_string(r.labels.size()) + " classes" +
                    (r.negative.rows() > 0 ? ", " + std::to_string(r.negative.rows()) + " negatives" : ""));
  result(o.common, {{"out", o.out},
                    {"method", r.method},
                    {"classes", r.labels.size()},
                    {"negatives", r.negative.rows()},
                    {"groups", r.groups},
                    {"logit_scale", r.logit_scale},
                    {"encoder_fingerprint", r.encoder_fingerprint}});
  return 0;
}

}  // namespace

int run_fit(const fit_options& o) {
  if (o.method == "negprompt" || o.method == "coop") return run_fit_prompts(o);
  if (has_feature_map(o.method)) return run_fit_krnft(o);
  for (const std::string_view later : {"knn", "mahalanobis"})
    if (o.method == later)
      fail(error_category::usage, "negood.cli.3", "--method", "'" + o.method + "' is not in this version");
  detector_record probe;
  probe.method = o.method;
  try {
    scorer_of(probe);
  } catch (const error& e) {
    fail(error_category::usage, "negood.cli.3", "--method", e.what_happened(), e.hint());
  }
  if (o.names.empty())
    fail(error_category::usage, "negood.cli.6", "fit", "--names is missing", "one class name a line");
  if (o.out.empty()) fail(error_category::usage, "negood.cli.6", "fit", "--out is missing");
  return with_backend(o.common, [&](auto& ctx) { return fit_zero_shot(ctx, o); });
}

}  // namespace negood::cli
