// negood fit --method krnft|nft|coft|taskres|ssf: learns a map of the text features, or binds a learned one to other
// names.
#include "fit_krnft.hpp"

#include <negood/io/feature_checkpoint.hpp>

#include <fstream>

namespace negood::cli {

namespace {

[[noreturn]] void usage(std::string what, std::string_view hint) {
  fail(error_category::usage, "negood.cli.6", "fit", std::move(what), hint);
}

template <Backend B>
tuned_labels read_labels_of(B& ctx, text_encoder<B>& model, const fit_options& o) {
  tuned_labels out;
  out.classes = class_texts(model, o);
  out.negatives.features = host_matrix<float>(0, out.classes.features.cols());
  out.options["templates"] = o.text_features.empty() ? ordered_json(o.text.patterns()) : ordered_json(nullptr);
  const auto& w = o.words;
  const bool given = !w.mine.empty() || !w.negatives_file.empty() || !w.negative_features.empty();
  if (given || needs_negatives(o.method)) {
    auto negatives = negatives_of(ctx, model, o, out.classes);
    out.negatives = std::move(negatives.words);
    if (!out.negatives.names.empty()) out.options["negative_words"] = out.negatives.names;
    if (!negatives.templates.is_null()) out.options["negative_templates"] = negatives.templates;
    if (!negatives.selection.is_null()) out.options["selection"] = negatives.selection;
  }
  if (model.given()) out.fingerprint = model.get().fingerprint;
  for (const auto& file : {o.text_features, w.negative_features}) {
    if (file.empty()) continue;
    const auto other = fingerprint_of_features(file);
    if (check_encoder(o.common, other, file, out.fingerprint, "the rest", o.force_encoder))
      out.options["forced_encoder"] = true;
    if (out.fingerprint.empty()) out.fingerprint = other;
  }
  if (o.logit_scale) {
    out.logit_scale = *o.logit_scale;
    if (const auto warning = clip::check_logit_scale(out.logit_scale, "--logit-scale"); !warning.empty())
      note(o.common, warning);
  } else if (model.given()) {
    out.logit_scale = clip::require_logit_scale(model.get(), o.model);
  } else if (o.tuning.transform.empty()) {
    fail(error_category::usage, "negood.detector.8", "fit", "method " + o.method + " needs a logit scale",
         "--logit-scale 100 is that of the published weights");
  }
  return out;
}

/// Groups of the score: one, as the paper's Eq. 2, unless told otherwise.
index_type score_groups(const fit_options& o, index_type negatives) {
  const index_type g = o.tuning.score_groups.value_or(1);
  if (g < 1 || g > std::max<index_type>(1, negatives))
    usage("--score-groups " + std::to_string(g) + " of " + std::to_string(negatives) + " negatives",
          "use between 1 and M groups");
  return g;
}

/// Puts the map into the file of a detector.
template <class Real>
ordered_json write_detector(const fit_options& o, tuned_labels labels, const tuned_features<Real>& tuned) {
  detector_record r;
  r.labels = std::move(labels.classes.names);
  r.positive = std::move(labels.classes.features);
  r.negative = std::move(labels.negatives.features);
  r.groups = score_groups(o, r.negative.rows());
  attach_features(r, tuned);
  r.options = dump_json(labels.options);
  save(r, o.out);
  return {{"out", o.out},
          {"method", r.method},
          {"classes", r.labels.size()},
          {"negatives", r.negative.rows()},
          {"groups", r.groups},
          {"logit_scale", r.logit_scale},
          {"hidden", r.tuned->model.conditional ? ordered_json(r.tuned->hidden) : ordered_json(nullptr)},
          {"parameters", r.tuned->count()},
          {"encoder_fingerprint", r.encoder_fingerprint}};
}

/// A learned map for other names, with negatives of their own: nothing is learned.
template <Backend B>
int bind_transform(B& ctx, const fit_options& o) {
  const auto record = load_detector_record(o.tuning.transform);
  auto tuned = features_of(record);
  if (record.method != o.method)
    usage(o.tuning.transform + " is of method " + record.method + ", --method says " + o.method,
          "name the method of the map");
  if (tuned.parameters.model.per_label())
    fail(error_category::usage, "negood.krnft.7", o.tuning.transform,
         "method " + o.method + " has parameters of single labels, which other labels do not have",
         "a map with shared parameters can be transferred: krnft, nft, coft, ssf");
  text_encoder<B> model(ctx, o);
  auto labels = read_labels_of(ctx, model, o);
  check_same_width(labels.classes.features.cols(), labels.classes.source, tuned.parameters.width, o.tuning.transform);
  const bool forced = check_encoder(o.common, tuned.encoder_fingerprint, o.tuning.transform, labels.fingerprint,
                                    "the rest", o.force_encoder);
  if (!labels.fingerprint.empty()) tuned.encoder_fingerprint = labels.fingerprint;
  if (o.logit_scale) tuned.logit_scale = *o.logit_scale;
  labels.options["transform"] = o.tuning.transform;
  labels.options["transform_labels_sha256"] = labels_sha256(record.labels);
  if (forced) labels.options["forced_encoder"] = true;
  const auto classes = labels.classes.names.size();
  const index_type negatives = labels.negatives.features.rows();
  auto j = write_detector(o, std::move(labels), tuned);
  j["forced_encoder"] = forced;
  j["transform"] = o.tuning.transform;
  say(o.common, escape(o.out) + ": the map of " + escape(o.tuning.transform) + " bound to " + std::to_string(classes) +
                    " names and " + std::to_string(negatives) + " negatives");
  result(o.common, j);
  return 0;
}

/// What a checkpoint must agree with: everything that decides the bytes of the result.
template <class Real>
std::string name_of_run(const ordered_json& description, const krnft_texts<Real>& texts,
                        const krnft_training_data<Real>& data, const feature_parameters<Real>& start,
                        std::uint64_t seed) {
  sha256 h;
  h.update("krnft").update(format_feature_model(start.model)).update(dump_json(description));
  h.update_u64(seed).update(&texts.logit_scale, sizeof(double)).update_u64(data.pooled ? 1 : 0);
  const auto add = [&](const host_matrix<Real>& m) {
    h.update_u64(static_cast<std::uint64_t>(m.rows())).update_u64(static_cast<std::uint64_t>(m.cols()));
    h.update(m.data(), static_cast<std::size_t>(m.size()) * sizeof(Real));
  };
  for (const auto* const m : {&texts.classes, &texts.negatives, &data.positives, &data.negatives}) add(*m);
  for (const auto label : data.labels) h.update_u64(static_cast<std::uint64_t>(label));
  for (const auto& part : start.parts) for_each_tensor(part, [&](const char*, const auto& m) { add(m); });
  return h.hex_digest();
}

template <Backend B>
int learn(B& ctx, const fit_options& o) {
  using real = real_t<B>;
  text_encoder<B> model(ctx, o);
  if (o.text_features.empty() && !model.given())
    fail(error_category::usage, "negood.cli.5", "fit", "--model is missing",
         "or give the classes' text features with --text-features");
  auto labels = read_labels_of(ctx, model, o);
  const index_type classes = labels.classes.features.rows(), negatives = labels.negatives.features.rows();
  score_groups(o, negatives);
  const auto options = krnft_options_of(o, negatives);
  const auto data = read_tuning_data(ctx, model, o, options, labels);
  krnft_texts<real> texts{cast<real>(labels.classes.features), cast<real>(labels.negatives.features)};
  texts.logit_scale = labels.logit_scale;
  // Words come in the order of their distance: groups are drawn, as released code does. Parameters of single labels
  // stay in the order of the file.
  const index_type grouped = negatives / options.groups * options.groups;
  if (options.groups > 1 && options.groups <= negatives && !options.model.per_label())
    texts.permutation = permutation(options.seed, random_purpose::label_group, 0, grouped);
  krnft_start<real> start;
  start.parameters =
      initial_map<real>(o, options, texts.classes.cols(), labels_of_parts(options.model, classes, negatives));

  auto description = describe(o, options);
  const auto& d = data.data;
  description["crops_kept"] =
      d.pooled ? ordered_json(nullptr) : ordered_json(d.positives.rows() / static_cast<index_type>(d.labels.size()));
  const std::string run = name_of_run(description, texts, d, *start.parameters, options.seed);
  const std::filesystem::path checkpoint = o.checkpoint.empty() ? o.out + ".checkpoint" : o.checkpoint;
  if (o.resume) {
    std::string problem;
    start.resume = load_checkpoint<real>(*start.parameters, checkpoint, run, &problem);
    if (!problem.empty()) note(o.common, "the newest checkpoint cannot be used, the one before is: " + problem);
    if (!start.resume) note(o.common, checkpoint.string() + ": there is no checkpoint; starting from the beginning");
  }
  std::ofstream trace;
  if (!o.trace.empty()) {
    trace.open(o.trace, start.resume ? std::ios::app : std::ios::trunc);
    if (!trace) fail(error_category::io, "negood.io.6", o.trace, "cannot be opened for writing");
  }
  krnft_hooks<real> hooks;
  hooks.checkpoint_every = o.checkpoint_every;
  hooks.on_checkpoint = [&](const krnft_checkpoint<real>& c) { save_checkpoint(c, checkpoint, run); };
  hooks.stop = [] { return stop_requested(); };
  conditioning_report conditioning;
  krnft_fit<real> fit;
  try {
    progress bar(o.common, "training", options.steps);
    hooks.on_step = [&](const krnft_trace_row& row) {
      conditioning.merge(row.conditioning);
      if (trace.is_open()) trace << trace_line(row) << '\n';
      bar.update(row.step + 1, "loss " + format_fixed(std::isfinite(row.loss) ? row.loss : 0, 4));
    };
    fit = fit_krnft(ctx, texts, d, options, start, hooks);
  } catch (const error& e) {
    if (e.category() != error_category::interrupted) throw;
    fail(e.category(), e.code(), e.where(), e.what_happened() + "; wrote " + checkpoint.string(),
         "the same command with --resume goes on");
  }
  if (trace.is_open() && !trace.flush()) fail(error_category::io, "negood.io.6", o.trace, "cannot be written");
  for (const auto& warning : fit.warnings) note(o.common, warning);
  if (conditioning.flagged > 0)
    note(o.common, "text features nearly cancelled under " + std::to_string(conditioning.flagged) +
                       " conditions (kappa up to " + format_number(conditioning.largest_kappa) + ")");
  if (fit.outcome == fit_outcome::diverged)
    fail(error_category::numeric, "negood.train.4", "fit",
         "training diverged at step " + std::to_string(fit.last.step + 1), "lower --lr; nothing was written");

  fit.features.encoder_fingerprint = labels.fingerprint;
  labels.options.update(description);
  if (o.force_encoder) labels.options["force_encoder"] = true;
  auto j = write_detector(o, std::move(labels), fit.features);
  j["train_images"] = d.labels.size();
  j["steps"] = options.steps;
  const auto last = [&](double v) { return options.steps > 0 ? ordered_json(v) : ordered_json(nullptr); };
  j["final_loss"] = last(fit.last.loss);
  j["final_id"] = last(fit.last.id);
  j["final_outlier"] = last(fit.last.outlier);
  j["final_knowledge"] = last(fit.last.knowledge);
  j["largest_delta"] = last(fit.last.conditioning.largest_delta);
  j["recomputed"] = conditioning.recomputed;
  j["clamped"] = conditioning.clamped;
  j["warnings"] = fit.warnings;
  if (o.checkpoint.empty()) remove_checkpoints(checkpoint);
  say(o.common, escape(o.out) + ": " + o.method + " over " + std::to_string(classes) + " classes and " +
                    std::to_string(negatives) + " negatives, learned on " + std::to_string(d.labels.size()) +
                    " images in " + std::to_string(options.steps) + " steps");
  if (options.steps > 0)
    say(o.common, "last step: loss " + format_fixed(fit.last.loss, 4) + ", L_p " + format_fixed(fit.last.id, 4) +
                      ", L_n " + format_fixed(fit.last.outlier, 4) + ", L_kr " + format_number(fit.last.knowledge) +
                      ", largest |alpha - 1| " + format_number(fit.last.conditioning.largest_delta));
  result(o.common, j);
  return 0;
}

}  // namespace

int run_fit_krnft(const fit_options& o) {
  if (o.out.empty()) usage("--out is missing", "the detector's file");
  if (o.names.empty()) usage("--names is missing", "one class name a line");
  if (o.tuning.transform.empty()) return with_backend(o.common, [&](auto& ctx) { return learn(ctx, o); });
  const auto& t = o.tuning;
  if (!o.train.empty() || !o.train_features.empty() || !t.crop_features.empty() || !t.outlier_features.empty() ||
      !o.init_file.empty() || o.steps)
    usage("--transform with something to learn from", "it learns nothing");
  return with_backend(o.common, [&](auto& ctx) { return bind_transform(ctx, o); });
}

}  // namespace negood::cli
