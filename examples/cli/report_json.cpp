// results.json, "negood.demo/1": docs/demo.md lists its keys.
#include "demo.hpp"
#include "demo_findings.hpp"
#include "demo_study.hpp"
#include "demo_tuning.hpp"

#include <negood/io/json.hpp>
#include <negood/metric/report.hpp>

namespace negood::demo {
namespace {

constexpr double metric_values::*named_members[] = {&metric_values::auroc,         &metric_values::auroc_strict,
                                                    &metric_values::aupr_in_step,  &metric_values::aupr_in_trapezoid,
                                                    &metric_values::aupr_out_step, &metric_values::aupr_out_trapezoid};
constexpr const char* member_names[] = {"auroc",         "auroc_strict",      "aupr_in_step", "aupr_in_trapezoid",
                                        "aupr_out_step", "aupr_out_trapezoid"};

ordered_json spread_json(const std::vector<double>& values) {
  const auto s = summarise(values);
  if (s.n == 0) return nullptr;
  return {{"mean", s.mean}, {"sd", s.sd}, {"n", s.n}};
}

/// The OOD sets of a run as `negood eval` writes them; `far_only` leaves out the near ones.
eval_table table_of(const demo_result& r, const method_run& run, bool far_only) {
  eval_table table;
  for (std::size_t k = 1; k < r.sets.size() && k - 1 < run.metrics.size(); ++k)
    if (!far_only || !r.sets[k].near) table.sets.push_back({r.sets[k].name, run.metrics[k - 1]});
  table.id_accuracy = run.id_accuracy;
  return table;
}

ordered_json losses_json(const std::vector<trace_row>& trace) {
  if (trace.empty()) return nullptr;
  const auto& last = trace.back();
  ordered_json out{{"stage", last.stage}, {"step", last.step}, {"loss", last.loss}};
  if (last.cross_entropy != 0) out["cross_entropy"] = last.cross_entropy;
  if (last.stage == 2) {
    out["nis"] = last.nis;
    out["npd"] = last.npd;
    out["nnd"] = last.nnd;
    out["mean_cosine"] = last.mean_cosine;
  }
  out["gradient_norm"] = last.gradient_norm;
  return out;
}

ordered_json run_json(const demo_result& r, const method_run& run) {
  ordered_json out;
  out["seed"] = run.seed;
  out["id_accuracy"] = run.id_accuracy;
  out["threshold"] = run.threshold;
  out["id_recall"] = run.id_recall;
  out["seconds"] = run.seconds;
  out["mean_cosine"] =
      run.trace.empty() || run.trace.back().stage != 2 ? ordered_json(nullptr) : ordered_json(run.mean_cosine);
  out["steps"] = run.trace.size();
  out["final_losses"] = losses_json(run.trace);
  out["eval"] = ordered_json::parse(eval_json(table_of(r, run, false)));
  out["mean_far"] = ordered_json::parse(eval_json(table_of(r, run, true)))["mean"];
  out["warnings"] = run.warnings;
  return out;
}

/// Mean and standard deviation over the seeds of everything one reads in the table.
ordered_json summary_json(const demo_result& r, const method_result& m) {
  ordered_json out;
  const auto fpr = [&](const std::vector<fpr_values>& all) {
    ordered_json by;
    for (const auto c : fpr_conventions) {
      std::vector<double> one;
      for (const auto& v : all) one.push_back(v[c]);
      by[std::string(to_string(c))] = spread_json(one);
    }
    return by;
  };
  for (std::size_t k = 1; k < r.sets.size(); ++k) {
    ordered_json set{{"name", r.sets[k].name}};
    for (std::size_t j = 0; j < std::size(named_members); ++j)
      set[member_names[j]] = spread_json(values_of(m, k - 1, named_members[j]));
    std::vector<fpr_values> all;
    for (const auto& run : m.runs)
      if (k - 1 < run.metrics.size() && run.metrics[k - 1].values) all.push_back(run.metrics[k - 1].values->fpr);
    set["fpr95"] = fpr(all);
    out["sets"].push_back(std::move(set));
  }
  for (const auto group : {set_group::near, set_group::far}) {
    auto& place = out[group == set_group::near ? "near" : "far"];
    place["auroc"] = spread_json(values_of(r, m, group, &metric_values::auroc));
    place["fpr95"] = {{"id_positive_nearest", spread_json(fpr_of(r, m, group))}};
  }
  out["id_accuracy"] = spread_json(values_of(m, &method_run::id_accuracy));
  out["id_recall"] = spread_json(values_of(m, &method_run::id_recall));
  out["threshold"] = spread_json(values_of(m, &method_run::threshold));
  out["seconds"] = m.learned ? spread_json(values_of(m, &method_run::seconds)) : ordered_json(nullptr);
  return out;
}

ordered_json protocol_json(const demo_result& r) {
  ordered_json out;
  out["id_names"] = r.id_names;
  out["near_names"] = r.near_names;
  out["seeds"] = r.seeds;
  out["shots"] = r.shots;
  out["few_shot_rows"] = r.few_shot_rows;
  out["held_back"] = r.held_back;
  out["sets"] = ordered_json::array();
  for (std::size_t k = 0; k < r.sets.size(); ++k)
    out["sets"].push_back({{"name", r.sets[k].name},
                           {"kind", k == 0           ? "id"
                                    : r.sets[k].near ? "near"
                                                     : "far"},
                           {"images", r.sets[k].images},
                           {"description", r.sets[k].description}});
  out["options"] = ordered_json::object();
  for (const auto& [key, value] : r.options) out["options"][key] = value;
  out["sd"] = "sample standard deviation over seeds";
  out["aupr_default"] = "step";
  out["convention_default"] = "id_positive_nearest";
  return out;
}

ordered_json similarities_json(const demo_result& r) {
  auto out = ordered_json::array();
  for (const auto& s : r.similarities) {
    const auto c = summarise(s.cosines);
    out.push_back({{"set", s.set}, {"prompt", s.prompt}, {"images", c.n}, {"mean", c.mean}, {"sd", c.sd}});
  }
  return out;
}

/// The curves of the report's section on InterNeg at test time.
ordered_json streams_json(const demo_result& r) {
  auto out = ordered_json::array();
  for (const auto& s : r.streams)
    out.push_back({{"set", s.set},
                   {"images", s.images},
                   {"inverted", s.considered},
                   {"admitted", s.admitted},
                   {"refused_near_id", s.refused_near_id},
                   {"seen", s.at},
                   {"memory", s.memory},
                   {"acceptance", s.acceptance},
                   {"auroc_so_far", s.running},
                   {"auroc_since_last", s.window}});
  return out;
}

}  // namespace

std::string results_json(const demo_result& r) {
  ordered_json out;
  out["format"] = "negood.demo/1";
  out["created_by"] = r.created_by;
  out["date"] = r.date;
  out["backend"] = r.backend;
  out["model_fingerprint"] = r.model_fingerprint;
  out["seconds"] = r.seconds;
  out["headline"] = headline(r);
  out["findings"] = r.findings;
  out["protocol"] = protocol_json(r);
  out["gates"] = ordered_json::array();
  for (const auto& [name, result] : r.gates) out["gates"].push_back({{"name", name}, {"result", result}});
  out["methods"] = ordered_json::array();
  for (const auto& m : r.methods) {
    ordered_json one{{"name", m.name}, {"title", m.title}, {"description", m.description}, {"learned", m.learned}};
    one["summary"] = summary_json(r, m);
    one["runs"] = ordered_json::array();
    for (const auto& run : m.runs) one["runs"].push_back(run_json(r, run));
    out["methods"].push_back(std::move(one));
  }
  out["similarities"] = similarities_json(r);
  out["streams"] = streams_json(r);
  out["stream_study"] = study_json(r);
  out["tuning_study"] = tuning_json(r);
  out["runaway"] = runaway_json(r);
  out["examples_method"] = r.examples_method;
  out["examples"] = ordered_json::array();
  for (const auto& e : r.examples)
    out["examples"].push_back(
        {{"set", e.set}, {"truth", e.truth}, {"label", e.label}, {"score", e.score}, {"is_unknown", e.is_unknown}});
  out["mined_words"] = r.mined_words;
  out["warnings"] = collected_warnings(r);
  return dump_json(out, 1) + "\n";
}

}  // namespace negood::demo
