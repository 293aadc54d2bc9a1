#include "fit_krnft.hpp"

#include <negood/io/detector_features.hpp>

namespace negood::cli {

namespace {

[[noreturn]] void usage(std::string_view where, std::string what, std::string_view hint = {}) {
  fail(error_category::usage, "negood.cli.6", where, std::move(what), hint);
}

void count(std::string_view option, const std::optional<index_type>& value, index_type least, index_type& to) {
  if (!value) return;
  if (*value < least || *value > 1'000'000'000)
    usage(option, std::to_string(*value) + " is out of range", "use " + std::to_string(least) + " or more");
  to = *value;
}
void weight(std::string_view option, const std::optional<double>& value, double& to) {
  if (!value) return;
  if (!(*value >= 0) || !std::isfinite(*value))
    usage(option, format_number(*value) + " is out of range", "use 0 or more");
  to = *value;
}

safetensors_file init_file(const fit_options& o) { return safetensors_file::read(o.init_file); }

}  // namespace

std::optional<index_type> hidden_of_init_file(const fit_options& o) {
  if (o.init_file.empty()) return std::nullopt;
  const auto hidden = detail::hidden_width(detail::feature_map_tensors(init_file(o)));
  return hidden > 0 ? std::optional(hidden) : std::nullopt;
}

krnft_options krnft_options_of(const fit_options& o, index_type negatives) {
  using preset = krnft_options (*)();
  auto out = choose<preset>("--preset", o.preset,
                            {{"paper", &krnft_options::paper}, {"released", &krnft_options::released}})();
  const auto& t = o.tuning;
  out.model = parse_feature_model(o.method);
  out.seed = o.common.seed;
  if (t.hidden && !out.model.conditional) usage("--hidden", "method " + o.method + " has no network", "leave it out");
  const auto in_file = hidden_of_init_file(o);
  if (in_file && out.model.conditional) {
    if (t.hidden && *t.hidden != *in_file)
      usage("--init-file",
            "its hidden width is " + std::to_string(*in_file) + ", --hidden says " + std::to_string(*t.hidden));
    out.hidden = *in_file;
  }
  count("--hidden", t.hidden, 1, out.hidden);
  out.groups = std::max<index_type>(1, std::min(out.groups, negatives));
  count("--groups", o.words.groups, 1, out.groups);
  count("--steps", o.steps, 0, out.steps);
  count("--batch", o.batch, 1, out.images);
  count("--crops", t.crops, 2, out.crops);
  count("--keep", t.keep, 1, out.keep);
  count("--outliers", t.outliers, 1, out.outliers);
  weight("--lambda1", t.lambda1, out.outlier_weight);
  weight("--lambda2", t.lambda2, out.knowledge_weight);
  weight("--lr", o.lr, out.learning_rate);
  weight("--weight-decay", o.weight_decay, out.optimizer.weight_decay);
  weight("--momentum", o.momentum, out.optimizer.momentum);
  out.anchor = choose<condition_anchor>(
      "--anchor", t.anchor, {{"image", condition_anchor::per_group}, {"sample", condition_anchor::per_sample}});
  if (o.shuffle) out.shuffle = choose<bool>("--shuffle", *o.shuffle, {{"yes", true}, {"no", false}});
  if (o.optimizer)
    out.optimizer.kind = choose<optimizer_kind>("--optimizer", *o.optimizer,
                                                {{"sgd", optimizer_kind::sgd}, {"adamw", optimizer_kind::adamw}});
  if (o.schedule) choose<int>("--schedule", *o.schedule, {{"constant", 0}});
  if (o.epochs || o.stage1_epochs || o.stage2_epochs || o.stage1_steps)
    usage("fit", "method " + o.method + " has steps and no epochs or stages", "give --steps");
  return out;
}

ordered_json describe(const fit_options& o, const krnft_options& k) {
  return {{"preset", o.preset},
          {"hidden", k.model.conditional ? ordered_json(k.hidden) : ordered_json(nullptr)},
          {"training_groups", k.groups},
          {"steps", k.steps},
          {"images_a_step", k.images},
          {"outliers_a_step", k.outliers},
          {"lambda1", k.outlier_weight},
          {"lambda2", k.knowledge_weight},
          {"outlier_floor", k.outlier_floor},
          {"anchor", o.tuning.anchor},
          {"lr", k.learning_rate},
          {"optimizer", k.optimizer.kind == optimizer_kind::sgd ? "sgd" : "adamw"},
          {"momentum", k.optimizer.momentum},
          {"weight_decay", k.optimizer.weight_decay},
          {"shuffle", k.shuffle}};
}

template <class Real>
feature_parameters<Real> initial_map(const fit_options& o, const krnft_options& options, index_type width,
                                     const std::vector<index_type>& labels) {
  const auto fresh = initial_feature_parameters<Real>(options.model, width, options.hidden, labels, options.seed);
  if (o.init_file.empty()) return fresh;
  auto tensors = fresh.tensors();
  const auto given = detail::feature_map_tensors(init_file(o));
  if (given.empty())
    fail(error_category::artifact, "negood.file.4", o.init_file, "has no tensor of a feature map",
         "its names are as in a detector of method " + o.method);
  for (const auto& tensor : given) {
    const auto at = std::ranges::find_if(tensors, [&](const auto& t) { return t.first == tensor.first; });
    if (at == tensors.end())
      fail(error_category::artifact, "negood.file.4", o.init_file,
           "tensor '" + tensor.first + "' is none of method " + o.method, "take it out");
    at->second = tensor.second;
  }
  return feature_parameters_of<Real>(options.model, tensors, width, options.hidden, labels);
}
template feature_parameters<float> initial_map(const fit_options&, const krnft_options&, index_type,
                                               const std::vector<index_type>&);
template feature_parameters<double> initial_map(const fit_options&, const krnft_options&, index_type,
                                                const std::vector<index_type>&);

std::string trace_line(const krnft_trace_row& row) {
  const auto number = [](double v) { return std::isfinite(v) ? ordered_json(v) : ordered_json(nullptr); };
  const auto& c = row.conditioning;
  return dump_json(ordered_json{{"epoch", row.epoch},
                                {"step", row.step},
                                {"steps", row.steps},
                                {"loss", number(row.loss)},
                                {"id", number(row.id)},
                                {"outlier", number(row.outlier)},
                                {"knowledge", number(row.knowledge)},
                                {"gradient_norm", number(row.gradient_norm)},
                                {"largest_delta", number(c.largest_delta)},
                                {"largest_kappa", number(c.largest_kappa)},
                                {"flagged", c.flagged},
                                {"recomputed", c.recomputed},
                                {"clamped", c.clamped}});
}

}  // namespace negood::cli
