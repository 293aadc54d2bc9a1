#include "stream_settings.hpp"

namespace negood::cli {
namespace {

/// S at a log-odds is what beta and thresholds are given in.
double log_odds_of(double s) { return std::log(s) - std::log1p(-s); }

double beta_of(const std::string& text, const detector_record& r) {
  if (text == "threshold") {
    if (r.threshold) return *r.threshold;
    fail(error_category::usage, "negood.detector.2", "--beta", "the detector has no threshold", "calibrate it first");
  }
  const auto value = parse_number<double>(text);
  if (!value || !(*value >= 0 && *value <= 1))
    fail(error_category::usage, "negood.cli.7", "--beta", "'" + text + "' is no share",
         "a number from 0 to 1, or threshold");
  return *value;
}

/// Templates as given; one that is a file stands for its lines.
std::vector<std::string> template_texts(const std::vector<std::string>& given) {
  std::vector<std::string> out;
  for (const auto& text : given) {
    std::error_code ignored;
    if (!std::filesystem::is_regular_file(text, ignored)) {
      out.push_back(text);
      continue;
    }
    const auto lines = read_names(text, {.duplicates = duplicate_policy::keep});
    out.insert(out.end(), lines.begin(), lines.end());
  }
  return out;
}

}  // namespace

interneg_options interneg_settings(const score_options& o, const detector_record& r) {
  const auto& s = o.stream;
  const auto options = parse_json(r.options.empty() ? "{}" : r.options, "options");
  json own = json::object();
  if (options.is_object() && options.contains("stream") && options["stream"].is_object()) own = options["stream"];
  const auto pick = [&own](const auto& given, const char* key, auto otherwise) {
    if (given) return static_cast<decltype(otherwise)>(*given);
    const auto it = own.find(key);
    if (it == own.end() || it->is_null()) return otherwise;
    if (!it->is_number())
      fail(error_category::artifact, "negood.file.3", "detector",
           std::string("options.stream.") + key + " is no number");
    return it->get<decltype(otherwise)>();
  };
  interneg_options out;
  out.beta = s.beta ? beta_of(*s.beta, r) : pick(std::optional<double>(), "beta", out.beta);
  out.capacity = pick(s.capacity, "memory", r.learned ? r.learned->memory.capacity() : out.capacity);
  out.inversion.steps = pick(s.steps, "steps", out.inversion.steps);
  if (!s.templates.empty())
    out.inversion.templates = template_texts(s.templates);
  else if (own.contains("templates") && own["templates"].is_array())
    out.inversion.templates = own["templates"].get<std::vector<std::string>>();
  for (auto& t : out.inversion.templates)  // "$" is how the literature writes the place
    if (const auto at = t.find('$'); at != std::string::npos && t.find("{}") == std::string::npos)
      t.replace(at, 1, "{}");
  out.inversion.seed = o.common.seed;
  out.mode = choose<admission_mode>("--admission", s.admission,
                                    {{"inline", admission_mode::immediate},
                                     {"deferred", admission_mode::deferred},
                                     {"frozen", admission_mode::frozen}});
  auto& g = out.guards;
  if (choose<bool>("--guards", s.guards, {{"standard", true}, {"off", false}})) g = memory_guards::standard();
  g.duplicate_cosine = s.duplicate_cosine.value_or(g.duplicate_cosine);
  g.min_margin = s.min_margin.value_or(g.min_margin);
  g.source_cap = s.source_cap.value_or(g.source_cap);
  g.sightings = s.sightings.value_or(g.sightings);
  g.cluster_cap = s.cluster_cap.value_or(g.cluster_cap);
  g.cluster_cosine = s.cluster_cosine.value_or(g.cluster_cosine);
  g.window = s.window.value_or(s.window_share || s.drift_limit ? 1000 : g.window);
  g.window_share = s.window_share.value_or(g.window_share);
  g.drift_limit = s.drift_limit.value_or(g.drift_limit);
  g.drift_log_odds = log_odds_of(r.threshold.value_or(out.beta));
  if (!s.canaries.empty()) g.canary_loss = s.canary_loss;
  return out;
}

ordered_json interneg_settings_json(const interneg_options& o) {
  const auto& g = o.guards;
  return {{"beta", o.beta},
          {"memory", o.capacity},
          {"steps", o.inversion.steps},
          {"templates", o.inversion.templates},
          {"learning_rate", o.inversion.learning_rate},
          {"guards",
           {{"min_margin", g.min_margin},
            {"duplicate_cosine", g.duplicate_cosine},
            {"source_cap", g.source_cap},
            {"cluster_cap", g.cluster_cap},
            {"cluster_cosine", g.cluster_cosine},
            {"sightings", g.sightings},
            {"canary_loss", g.canary_loss},
            {"window", g.window},
            {"window_share", g.window_share},
            {"drift_limit", g.drift_limit}}}};
}

void attach_settings(detector_record& r, const interneg_options& o) {
  auto options = parse_json(r.options.empty() ? "{}" : r.options, "options");
  if (!options.is_object()) options = json{{"note", options}};
  options["stream"] = interneg_settings_json(o);
  r.options = dump_json(options);
}

adaneg_options adaneg_settings(const score_options& o, const detector_record& r) {
  const auto& s = o.stream;
  return {.groups = r.groups,
          .gamma = s.gamma,
          .gap = s.gap,
          .slots = s.slots,
          .lambda = s.lambda,
          .beta = s.sharpness,
          .proxies = choose<proxy_kind>("--proxies", s.proxies,
                                        {{"sample", proxy_kind::sample_adaptive}, {"task", proxy_kind::task_adaptive}}),
          .rule = choose<gap_rule>("--gap-rule", s.gap_rule,
                                   {{"fixed", gap_rule::fixed}, {"window", gap_rule::sliding_window}}),
          .batch = batch_of_semantics(s.semantics).value_or(1)};
}

std::optional<index_type> batch_of_semantics(const std::string& text) {
  constexpr std::string_view batch = "reference-batch:";
  if (text == "sequential") return std::nullopt;
  const auto n = text.starts_with(batch) ? parse_number<index_type>(std::string_view(text).substr(batch.size()))
                                         : std::optional<index_type>();
  if (!n || *n < 1)
    fail(error_category::usage, "negood.cli.3", "--semantics", "'" + text + "' is not a choice",
         "sequential, or reference-batch:256");
  return n;
}

}  // namespace negood::cli
