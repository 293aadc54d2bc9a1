// negood eval: how well ID scores stand above OOD scores.
#include "commands.hpp"
#include "scores_file.hpp"

#include <negood/io/labels.hpp>
#include <negood/metric/accuracy.hpp>
#include <negood/metric/report.hpp>

#include <cstdio>
#include <set>

namespace negood::cli {

namespace {

std::vector<fpr_convention> conventions_of(const std::string& text) {
  if (text == "all") return {fpr_conventions.begin(), fpr_conventions.end()};
  const auto one = parse_fpr_convention(text);
  if (!one)
    fail(error_category::usage, "negood.cli.3", "--convention", "'" + text + "' is not a choice",
         "choose from all, id_positive_nearest, id_positive_first, ood_positive_first");
  return {*one};
}

using formatter = std::string (*)(const eval_table&);
formatter formatter_of(const eval_options& o) {
  return choose<formatter>("--format",
                           o.common.json      ? "json"
                           : o.format.empty() ? "text"
                                              : o.format,
                           {{"text", eval_text},
                            {"json", [](const eval_table& t) { return eval_json(t) + "\n"; }},
                            {"csv", eval_csv},
                            {"markdown", eval_markdown},
                            {"latex", eval_latex},
                            {"html", eval_html}});
}

}  // namespace

int run_eval(const eval_options& o) {
  const auto format = formatter_of(o);
  eval_table table;
  table.conventions = conventions_of(o.convention);
  if (o.id_labels.empty() != o.predictions.empty())
    fail(error_category::usage, "negood.cli.6", "eval", "--id-labels and --predictions go together");
  if (o.ood.empty() && o.id_labels.empty())
    fail(error_category::usage, "negood.cli.6", "eval", "--ood is missing", "for example --ood dtd=dtd_scores.npy");

  const auto id_scores = read_scores(o.common, o.id, o.nan);
  const sorted_scores<double> id(std::span<const double>(id_scores), o.id);
  std::set<std::string> seen;
  bool complete = true;
  for (const auto& item : o.ood) {
    const auto equals = item.find('=');
    const std::string path = equals == std::string::npos ? item : item.substr(equals + 1);
    const std::string name =
        equals == std::string::npos ? std::filesystem::path(path).stem().string() : item.substr(0, equals);
    if (!seen.insert(name).second)
      fail(error_category::usage, "negood.cli.6", "eval", "two OOD sets are called '" + name + "'",
           "name them: --ood NAME=scores.npy");
    const auto scores = read_scores(o.common, path, o.nan);
    auto report = evaluate(id, sorted_scores<double>(std::span<const double>(scores), path), {.recall = o.recall});
    complete = complete && report.values.has_value();
    if (report.degenerate) note(o.common, name + ": all scores are equal; AUROC is 1/2 whatever the data");
    table.sets.push_back({name, std::move(report)});
  }
  if (!o.id_labels.empty()) {
    const auto predictions = read_labels(o.predictions, {.lowest = 0});
    const auto labels = read_labels(o.id_labels, {.rows = static_cast<index_type>(predictions.size()), .lowest = 0});
    table.id_accuracy = accuracy(std::span<const index_type>(predictions), std::span<const index_type>(labels));
  }
  const std::string text = format(table);
  if (!o.out.empty()) write_file(o.out, text);
  if (o.out.empty() || o.common.json) std::fwrite(text.data(), 1, text.size(), stdout);
  if (!complete)
    for (const auto& s : table.sets)
      if (!s.report.values)
        fail(error_category::data, "negood.cli.10", "eval", s.name + ": " + s.report.reason,
             "AUROC and FPR need scores of both kinds");
  return 0;
}

}  // namespace negood::cli
