#include "fit_prompts.hpp"

#include <map>

namespace negood::cli {

namespace {

[[noreturn]] void usage(std::string_view where, std::string what, std::string_view hint = {}) {
  fail(error_category::usage, "negood.cli.6", where, std::move(what), hint);
}

void positive_number(std::string_view option, const std::optional<index_type>& value, index_type least) {
  if (value && (*value < least || *value > 1'000'000'000))
    usage(option, std::to_string(*value) + " is out of range", "use " + std::to_string(least) + " or more");
}
void finite_number(std::string_view option, const std::optional<double>& value, bool negative = false) {
  if (value && (!std::isfinite(*value) || (!negative && *value < 0)))
    usage(option, format_number(*value) + " is out of range", negative ? "use a number" : "use 0 or more");
}

}  // namespace

negprompt_options negprompt_options_of(const fit_options& o) {
  using preset = negprompt_options (*)();
  auto out = choose<preset>("--preset", o.preset,
                            {{"paper", &negprompt_options::paper},
                             {"released-oe", &negprompt_options::released_oe},
                             {"released-msp", &negprompt_options::released_msp}})();
  positive_number("--ctx", o.ctx, 1);
  positive_number("--negatives", o.negatives, 1);
  positive_number("--batch", o.batch, 1);
  positive_number("--stage1-batch", o.stage1_batch, 1);
  for (const auto& [name, value] : {std::pair{"--stage1-epochs", o.stage1_epochs}, std::pair{"--epochs", o.epochs},
                                    std::pair{"--stage2-epochs", o.stage2_epochs}, std::pair{"--steps", o.steps},
                                    std::pair{"--stage1-steps", o.stage1_steps}})
    positive_number(name, value, 0);
  for (const auto& [name, value] :
       {std::pair{"--lr", o.lr}, std::pair{"--stage1-lr", o.stage1_lr}, std::pair{"--momentum", o.momentum},
        std::pair{"--weight-decay", o.weight_decay}, std::pair{"--noise", o.noise}})
    finite_number(name, value);
  finite_number("--beta", o.beta, true);
  finite_number("--gamma", o.gamma, true);

  const bool coop = o.method == "coop";
  if (o.ctx) {
    out.context_length = *o.ctx;
    out.context_init.clear();  // --ctx asks for so many random vectors, unless --init says otherwise
  }
  if (o.init) {
    out.context_init = *o.init == "random" ? "" : *o.init;
    if (o.ctx && !out.context_init.empty())
      usage("fit", "--ctx and an --init text", "the text decides how many vectors");
  }
  if (o.suffix) out.suffix = *o.suffix;
  if (o.negatives) out.negatives = *o.negatives;
  if (o.beta) out.npd_weight = *o.beta;
  if (o.gamma) out.nnd_weight = *o.gamma;
  if (o.nis)
    out.nis = choose<nis_scope>(
        "--nis", *o.nis,
        {{"negatives", nis_scope::negatives}, {"all", nis_scope::all}, {"multilabel", nis_scope::multilabel}});
  if (o.nnd)
    out.nnd = choose<nnd_form>("--nnd", *o.nnd, {{"pairwise", nnd_form::pairwise}, {"mean-norm", nnd_form::mean_norm}});
  if (o.noise) out.noise = *o.noise;
  if (o.shuffle) out.shuffle = choose<bool>("--shuffle", *o.shuffle, {{"yes", true}, {"no", false}});
  out.scope = o.csc ? context_scope::class_specific : context_scope::shared;
  out.one_stage = o.one_stage;
  out.seed = o.common.seed;

  for (stage_options* const stage : {&out.stage1, &out.stage2}) {
    if (o.batch) stage->batch = *o.batch;
    if (o.lr) stage->learning_rate = *o.lr;
    if (o.momentum) stage->optimizer.momentum = *o.momentum;
    if (o.weight_decay) stage->optimizer.weight_decay = *o.weight_decay;
    if (o.optimizer)
      stage->optimizer.kind = choose<optimizer_kind>("--optimizer", *o.optimizer,
                                                     {{"sgd", optimizer_kind::sgd}, {"adamw", optimizer_kind::adamw}});
    if (o.schedule)
      stage->schedule = choose<schedule_kind>("--schedule", *o.schedule,
                                              {{"cosine", schedule_kind::cosine},
                                               {"constant", schedule_kind::constant},
                                               {"released", schedule_kind::released}});
  }
  if (o.stage1_batch) out.stage1.batch = *o.stage1_batch;
  if (o.stage1_lr) out.stage1.learning_rate = *o.stage1_lr;
  if (o.epochs) (coop ? out.stage1 : out.stage2).epochs = *o.epochs;
  if (o.stage1_epochs) out.stage1.epochs = *o.stage1_epochs;
  if (o.stage2_epochs) out.stage2.epochs = *o.stage2_epochs;
  if (o.stage1_steps) out.stage1.steps = *o.stage1_steps;
  if (o.steps) (coop ? out.stage1 : out.stage2).steps = *o.steps;
  if (coop) {
    if (o.one_stage) usage("fit", "--one-stage with coop", "it is an ablation of negprompt");
    out.stage2.epochs = out.stage2.steps = 0;
  }
  return out;
}

prompt_start read_start(const fit_options& o, negprompt_options& options, index_type width,
                        const std::string& fingerprint) {
  prompt_start start;
  const auto check_width = [&](const host_matrix<float>& m, const std::string& file, const char* tensor) {
    if (m.cols() != width)
      fail(error_category::data, "negood.feature.4", file,
           std::string(tensor) + " is " + std::to_string(m.cols()) + " wide, the text tower " + std::to_string(width),
           "were they made for this model?");
  };
  if (!o.positives.empty()) {
    const auto saved = load_prompts(o.positives);
    if (o.force_encoder)
      check_encoder(o.common, saved.encoder_fingerprint, o.positives, fingerprint, o.model, true);
    else
      saved.require_encoder(fingerprint);
    if (o.suffix) saved.require_suffix(*o.suffix);
    options.suffix = saved.suffix;
    if ((saved.scope == context_scope::class_specific) != o.csc)
      usage("--positives", o.positives + (o.csc ? " holds shared contexts" : " holds class-specific contexts"),
            "they must be what --csc says");
    start.positive = saved.positive;
    options.context_init.clear();
    options.context_length = saved.context_length;
    if (o.stage1_epochs && *o.stage1_epochs > 0)
      usage("fit", "--positives with --stage1-epochs", "it replaces stage 1");
    options.stage1.epochs = options.stage1.steps = 0;
  }
  if (!o.init_file.empty()) {
    const auto file = safetensors_file::read(o.init_file);
    const index_type per_class = o.csc ? 1 : 0;
    if (file.contains("ctx_positive") && !start.positive) {
      auto c = detail::read_contexts(file, "ctx_positive");
      if (static_cast<index_type>(c.shape.size()) != 2 + per_class)
        usage("--init-file", "ctx_positive has " + std::to_string(c.shape.size()) + " dimensions",
              "[n, d], or [K, n, d] with --csc");
      options.context_length = c.length;
      start.positive = std::move(c.rows);
    }
    if (file.contains("ctx_negative")) {
      auto c = detail::read_contexts(file, "ctx_negative");
      if (static_cast<index_type>(c.shape.size()) != 3 + per_class)
        usage("--init-file", "ctx_negative has " + std::to_string(c.shape.size()) + " dimensions",
              "[p, n, d], or [K, p, n, d] with --csc");
      const auto p = static_cast<index_type>(c.shape[c.shape.size() - 3]);
      if (o.negatives && *o.negatives != p)
        usage("--init-file", "ctx_negative holds " + std::to_string(p) + " negatives, --negatives says " +
                                 std::to_string(*o.negatives));
      if (start.positive && c.length != options.context_length)
        usage("--init-file", "ctx_negative has n = " + std::to_string(c.length) + ", the positive context " +
                                 std::to_string(options.context_length));
      options.negatives = p;
      options.context_length = c.length;
      start.negative = std::move(c.rows);
    }
    if (!start.positive && !start.negative)
      fail(error_category::artifact, "negood.file.4", o.init_file, "has neither ctx_positive nor ctx_negative");
    options.context_init.clear();
  }
  if (start.positive) check_width(*start.positive, o.positives.empty() ? o.init_file : o.positives, "ctx_positive");
  if (start.negative) check_width(*start.negative, o.init_file, "ctx_negative");
  return start;
}

ordered_json describe(const fit_options& o, const negprompt_options& p) {
  const auto stage = [](const stage_options& s) {
    const char* const schedules[] = {"cosine", "constant", "released"};
    return ordered_json{{"epochs", s.epochs},
                        {"steps", s.steps},
                        {"batch", s.batch},
                        {"lr", s.learning_rate},
                        {"optimizer", s.optimizer.kind == optimizer_kind::sgd ? "sgd" : "adamw"},
                        {"momentum", s.optimizer.momentum},
                        {"weight_decay", s.optimizer.weight_decay},
                        {"schedule", schedules[static_cast<int>(s.schedule)]}};
  };
  const char* const scopes[] = {"negatives", "all", "multilabel"};
  return {{"preset", o.preset},
          {"init", p.context_init.empty() ? std::string("random") : p.context_init},
          {"context_length", p.context_length},
          {"suffix", p.suffix},
          {"negatives", p.negatives},
          {"beta", p.npd_weight},
          {"gamma", p.nnd_weight},
          {"nis", scopes[static_cast<int>(p.nis)]},
          {"nnd", p.nnd == nnd_form::pairwise ? "pairwise" : "mean-norm"},
          {"noise", p.noise},
          {"one_stage", p.one_stage},
          {"shuffle", p.shuffle},
          {"views", o.views},
          {"train_classes", o.train_classes},
          {"stage1", stage(p.stage1)},
          {"stage2", stage(p.stage2)}};
}

std::vector<index_type> training_classes(const fit_options& o, const std::vector<std::string>& names) {
  const auto classes = static_cast<index_type>(names.size());
  std::vector<index_type> out;
  index_type first = -1;
  if (o.train_classes == "all") first = classes;
  if (o.train_classes.ends_with('%')) {
    const auto share = parse_number<double>(o.train_classes.substr(0, o.train_classes.size() - 1));
    if (!share || *share <= 0 || *share > 100) usage("--train-classes", "'" + o.train_classes + "' is not a share");
    first = detail::largest_count(classes, *share / 100);
    if (first == 0) usage("--train-classes", o.train_classes + " of " + std::to_string(classes) + " classes is none");
  }
  for (index_type k = 0; k < first; ++k) out.push_back(k);
  if (first >= 0) return out;
  std::map<std::string, index_type> class_of;
  for (index_type k = 0; k < classes; ++k) class_of.emplace(names[static_cast<std::size_t>(k)], k);
  for (const auto& name : read_names(o.train_classes)) {
    const auto it = class_of.find(name);
    if (it == class_of.end())
      fail(error_category::data, "negood.cli.12", o.train_classes, "'" + name + "' is not a name of " + o.names);
    out.push_back(it->second);
  }
  std::sort(out.begin(), out.end());
  return out;
}

std::string trace_line(const trace_row& row) {
  const auto number = [](double v) { return std::isfinite(v) ? ordered_json(v) : ordered_json(nullptr); };
  return dump_json(ordered_json{{"stage", row.stage},
                                {"epoch", row.epoch},
                                {"step", row.step},
                                {"steps", row.steps},
                                {"lr", row.rate},
                                {"loss", number(row.loss)},
                                {"cross_entropy", number(row.cross_entropy)},
                                {"nis", number(row.nis)},
                                {"npd", number(row.npd)},
                                {"nnd", number(row.nnd)},
                                {"gradient_norm", number(row.gradient_norm)},
                                {"mean_cosine", number(row.mean_cosine)}});
}

}  // namespace negood::cli
