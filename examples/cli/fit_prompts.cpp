// negood fit --method negprompt|coop: learns prompts, or binds saved ones to other names.
#include "fit_prompts.hpp"
#include "training_data.hpp"

#include <negood/negprompt.hpp>

#include <fstream>

namespace negood::cli {

namespace {

/// Only the images of the given classes, with labels counted among them.
template <class Real>
training_features<Real> restrict_to(const training_features<Real>& all, const std::vector<index_type>& classes,
                                    index_type count) {
  std::vector<index_type> place(static_cast<std::size_t>(count), -1);
  for (std::size_t i = 0; i < classes.size(); ++i)
    place[static_cast<std::size_t>(classes[i])] = static_cast<index_type>(i);
  training_features<Real> out;
  out.views = all.views;
  std::vector<Real> rows;
  for (std::size_t i = 0; i < all.labels.size(); ++i) {
    const index_type label = place[static_cast<std::size_t>(all.labels[i])];
    if (label < 0) continue;
    out.labels.push_back(label);
    for (index_type v = 0; v < all.views; ++v) {
      const auto row = all.features.row(static_cast<index_type>(i) * all.views + v);
      rows.insert(rows.end(), row.begin(), row.end());
    }
  }
  const auto n = static_cast<index_type>(out.labels.size()) * all.views;
  out.features = host_matrix<Real>(n, all.features.cols(), std::move(rows));
  return out;
}

/// What a checkpoint must agree with: everything that decides the bytes of the result.
template <class Real>
std::string name_of_run(const ordered_json& description, const negprompt_options& options,
                        const std::string& fingerprint, const std::vector<std::string>& names,
                        const training_features<Real>& train, const training_start<Real>& start) {
  sha256 h;
  h.update(dump_json(description)).update(fingerprint).update(labels_sha256(names));
  h.update_u64(options.seed);
  for (const auto label : train.labels) h.update_u64(static_cast<std::uint64_t>(label));
  const auto matrix = [&](const host_matrix<Real>& m) {
    h.update(m.data(), static_cast<std::size_t>(m.size()) * sizeof(Real));
  };
  matrix(train.features);
  if (start.positive) matrix(*start.positive);
  if (start.negative) matrix(*start.negative);
  return h.hex_digest();
}

learned_prompts<float> as_float(const auto& p) {
  return {cast<float>(p.positive),
          cast<float>(p.negative),
          p.context_length,
          p.negatives,
          p.suffix,
          p.scope,
          p.encoder_fingerprint,
          p.logit_scale,
          p.seed};
}

/// Binds prompts to names and writes the detector.
template <Backend B>
ordered_json write_detector(B& ctx, const fit_options& o, const clip::model<B>& m,
                            const learned_prompts<float>& prompts, const std::vector<std::string>& names,
                            ordered_json options) {
  const bool negatives = prompts.negatives > 0;
  if (o.method == "negprompt" && !negatives)
    fail(error_category::usage, "negood.cli.6", "fit", "there are no negative prompts",
         "give stage 2 some epochs, or use --method coop");
  auto only_positive = prompts;
  if (o.method == "coop") {
    only_positive.negatives = 0;
    only_positive.negative = host_matrix<float>(0, prompts.positive.cols());
  }
  const auto bank = only_positive.bind(ctx, m, names);
  detector_record r;
  r.method = o.method;
  r.temperature = o.temperature.value_or(1.0);
  r.labels = names;
  r.positive = cast<float>(ctx.to_host(bank.positive));
  r.negative = cast<float>(ctx.to_host(bank.negative));
  r.logit_scale = o.logit_scale.value_or(prompts.logit_scale);
  r.options = dump_json(options);
  attach_prompts(r, only_positive);
  save(r, o.out);
  return {{"out", o.out},
          {"method", o.method},
          {"classes", names.size()},
          {"negatives", r.negative.rows()},
          {"context_length", prompts.context_length},
          {"suffix", prompts.suffix},
          {"encoder_fingerprint", prompts.encoder_fingerprint}};
}

/// Saved prompts for other names: nothing is learned.
template <Backend B>
int bind_saved(B& ctx, const fit_options& o) {
  const auto m = load_model(ctx, o.common, o.model);
  auto prompts = load_prompts(o.prompts);
  if (o.suffix) prompts.require_suffix(*o.suffix);
  const bool forced =
      check_encoder(o.common, prompts.encoder_fingerprint, o.prompts, m.fingerprint, o.model, o.force_encoder);
  ordered_json options{{"prompts", o.prompts}};
  if (forced) {
    prompts.encoder_fingerprint = m.fingerprint;
    options["forced_encoder"] = true;
  }
  const auto names = read_class_names(o.common, o.names, o.text).names;
  auto j = write_detector(ctx, o, m, prompts, names, options);
  j["forced_encoder"] = forced;
  say(o.common, escape(o.out) + ": " + escape(o.prompts) + " bound to " + std::to_string(names.size()) + " names");
  result(o.common, j);
  return 0;
}

template <Backend B>
int fit_prompts(B& ctx, const fit_options& o) {
  using real = real_t<B>;
  auto options = negprompt_options_of(o);
  const auto m = load_model(ctx, o.common, o.model);
  const auto& tower = clip::require_text(m, "fit");
  const double scale = o.logit_scale ? *o.logit_scale : clip::require_logit_scale(m, o.model);
  const auto names = read_class_names(o.common, o.names, o.text);
  const auto chosen = training_classes(o, names.names);
  if (o.csc && chosen.size() != names.names.size())
    fail(error_category::usage, "negood.cli.6", "fit", "--csc with --train-classes",
         "class-specific contexts cannot be bound to other names");
  const auto from = read_start(o, options, tower.config.width, tower.fingerprint);
  training_start<real> start;
  if (from.positive) start.positive = cast<real>(*from.positive);
  if (from.negative) start.negative = cast<real>(*from.negative);

  auto data = read_training_data(ctx, o, m, names);
  const auto classes = static_cast<index_type>(names.names.size());
  for (std::size_t i = 0; i < data.features.labels.size(); ++i)
    check_label(data.features.labels[i], static_cast<index_type>(i), data.source, {.classes = classes, .lowest = 0});
  check_same_width(data.features.features.cols(), data.source, tower.config.embedding, o.model);
  std::vector<std::string> learned_names;
  for (const auto k : chosen) learned_names.push_back(names.names[static_cast<std::size_t>(k)]);
  if (chosen.size() != names.names.size()) data.features = restrict_to(data.features, chosen, classes);
  const auto& train = data.features;
  if (train.labels.empty())
    fail(error_category::data, "negood.cli.13", data.source, "has no image of the classes to learn from");

  auto description = describe(o, options);
  const std::string run = name_of_run(description, options, tower.fingerprint, learned_names, train, start);
  const std::filesystem::path checkpoint = o.checkpoint.empty() ? o.out + ".checkpoint" : o.checkpoint;
  if (o.resume) {
    std::string problem;
    start.resume = load_checkpoint<real>(checkpoint, run, &problem);
    if (!problem.empty()) note(o.common, "the newest checkpoint cannot be used, the one before is: " + problem);
    if (!start.resume) note(o.common, checkpoint.string() + ": there is no checkpoint; starting from the beginning");
  }

  std::ofstream trace;
  if (!o.trace.empty()) {
    trace.open(o.trace, start.resume ? std::ios::app : std::ios::trunc);
    if (!trace) fail(error_category::io, "negood.io.6", o.trace, "cannot be opened for writing");
  }
  // Steps of both stages, for the time that is left.
  const auto steps_of = [&](const stage_options& s) {
    const auto n = static_cast<index_type>(train.labels.size());
    return s.steps > 0 ? s.steps : s.epochs * (n / std::min(s.batch, n));
  };
  const index_type first_steps = options.one_stage ? 0 : steps_of(options.stage1);
  trace_row last;
  training_hooks<real> hooks;
  hooks.checkpoint_every = o.checkpoint_every;
  hooks.on_checkpoint = [&](const training_checkpoint<real>& c) { save_checkpoint(c, checkpoint, run); };
  hooks.stop = [] { return stop_requested(); };
  negprompt_fit<real> fit;
  try {
    progress bar(o.common, "training", first_steps + steps_of(options.stage2));
    hooks.on_step = [&](const trace_row& row) {
      last = row;
      if (trace.is_open()) trace << trace_line(row) << '\n';
      bar.update((row.stage == 2 ? first_steps : 0) + row.step + 1,
                 "loss " + format_fixed(std::isfinite(row.loss) ? row.loss : 0, 4));
    };
    fit = fit_negprompt(ctx, tower, m.tokenizer, scale, learned_names, train, options, start, hooks);
  } catch (const error& e) {
    if (e.category() != error_category::interrupted) throw;
    fail(e.category(), e.code(), e.where(), e.what_happened() + "; wrote " + checkpoint.string(),
         "the same command with --resume goes on");
  }
  if (trace.is_open() && !trace.flush()) fail(error_category::io, "negood.io.6", o.trace, "cannot be written");
  for (const auto& warning : fit.warnings) note(o.common, warning);
  if (fit.outcome == fit_outcome::diverged)
    fail(error_category::numeric, "negood.train.4", "fit",
         "training diverged at step " + std::to_string(last.step + 1) + " of stage " + std::to_string(last.stage),
         "lower --lr; nothing was written");

  const auto prompts = as_float(fit.prompts);
  if (!o.prompts_out.empty()) save(prompts, o.prompts_out);
  if (o.force_encoder) description["force_encoder"] = true;
  auto j = write_detector(ctx, o, m, prompts, names.names, description);
  j["train_classes"] = learned_names.size();
  j["train_images"] = train.labels.size();
  j["views"] = train.views;
  j["final_loss"] = last.loss;
  j["final_mean_cosine"] = fit.prompts.negatives > 1 ? ordered_json(fit.final_mean_cosine) : ordered_json(nullptr);
  j["warnings"] = fit.warnings;
  if (!o.prompts_out.empty()) j["prompts"] = o.prompts_out;
  if (o.checkpoint.empty()) remove_checkpoints(checkpoint);
  say(o.common, escape(o.out) + ": " + o.method + " over " + std::to_string(names.names.size()) +
                    " classes, learned on " + std::to_string(train.labels.size()) + " images of " +
                    std::to_string(learned_names.size()) + "; last loss " + format_fixed(last.loss, 4));
  if (fit.prompts.negatives > 1)
    say(o.common, "mean cosine between the negatives of a class: " + format_fixed(fit.final_mean_cosine, 4));
  result(o.common, j);
  return 0;
}

}  // namespace

int run_fit_prompts(const fit_options& o) {
  const auto usage = [](std::string what, std::string_view hint) {
    fail(error_category::usage, "negood.cli.6", "fit", std::move(what), hint);
  };
  if (o.out.empty()) usage("--out is missing", "the detector's file");
  if (o.names.empty()) usage("--names is missing", "one class name a line");
  if (o.model.empty()) usage("--model is missing", "prompts are learned through its text tower");
  if (!o.prompts.empty()) return with_backend(o.common, [&](auto& ctx) { return bind_saved(ctx, o); });
  if (o.train.empty() == o.train_features.empty())
    usage("give either --train or --train-features with --train-labels", "a list of images or their features");
  if (o.train_features.empty() != o.train_labels.empty())
    usage("--train-features and --train-labels go together", "one label a row");
  if (o.views < 0 || o.views > 1'000'000) usage("--views is out of range", "use 0 (no augmentation) or more");
  return with_backend(o.common, [&](auto& ctx) { return fit_prompts(ctx, o); });
}

}  // namespace negood::cli
