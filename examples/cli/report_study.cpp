#include "demo_study.hpp"

#include "demo_findings.hpp"

#include <negood/io/escape.hpp>
#include <negood/io/number.hpp>

#include <algorithm>
#include <cmath>

namespace negood::demo {
namespace {

using number = double (*)(const stream_outcome&);

double auroc(const stream_outcome& o) { return o.auroc; }
double fpr_id(const stream_outcome& o) { return o.fpr_id_positive; }
double fpr_ood(const stream_outcome& o) { return o.fpr_ood_positive; }
double kept(const stream_outcome& o) { return o.id_recall; }
double entered(const stream_outcome& o) {
  return o.inverted == 0 ? std::nan("") : static_cast<double>(o.admitted) / static_cast<double>(o.inverted);
}
double inverted(const stream_outcome& o) {
  return static_cast<double>(o.inverted) / static_cast<double>(std::max<index_type>(1, o.id_images + o.ood_images));
}
double cosine(const stream_outcome& o) { return o.inverted == 0 ? std::nan("") : o.inversion_cosine; }

/// Values of one setting on one set, over seeds and orders.
spread of(const demo_result& r, std::string_view study, std::string_view setting, std::string_view set, number f) {
  std::vector<double> values;
  for (const auto& o : r.study)
    if (o.study == study && o.setting == setting && o.set == set && !std::isnan(f(o))) values.push_back(f(o));
  return summarise(values);
}

/// Different values of a member in a part of the study, in the order they first occur.
std::vector<std::string> names(const demo_result& r, std::string_view study, std::string stream_outcome::*member) {
  std::vector<std::string> out;
  for (const auto& o : r.study)
    if (o.study == study && std::ranges::count(out, o.*member) == 0) out.push_back(o.*member);
  return out;
}

struct column {
  std::string title;
  number f;
  int better;  ///< +1 higher, -1 lower, 0 nothing is bold
};

std::string study_table(const demo_result& r, std::string_view study, std::string_view caption,
                        std::string_view rows_title, const std::vector<column>& columns, std::string_view note) {
  const auto settings = names(r, study, &stream_outcome::setting), sets = names(r, study, &stream_outcome::set);
  if (settings.empty()) return {};
  std::string out = "<div class=\"tw\"><table><caption>" + escape_html(caption) +
                    "</caption><thead><tr><th scope=\"col\">" + escape_html(rows_title) + "</th>";
  for (const auto& set : sets)
    for (const auto& c : columns)
      out += "<th scope=\"col\">" + escape_html(set + (columns.size() > 1 ? ": " + c.title : "")) + "</th>";
  out += "</tr></thead><tbody>\n";
  const auto shown = [](double v) { return format_fixed(100 * v, 1); };
  for (const auto& setting : settings) {
    out += "<tr><th scope=\"row\">" + escape_html(setting) + "</th>";
    for (const auto& set : sets)
      for (const auto& c : columns) {
        const auto value = of(r, study, setting, set, c.f);
        bool best = c.better != 0 && value.n > 0 && settings.size() > 1;
        for (const auto& other : settings)
          if (const auto v = of(r, study, other, set, c.f); best && v.n > 0)
            best = c.better * v.mean <= c.better * value.mean || shown(v.mean) == shown(value.mean);
        const auto text = value.n == 0 ? std::string("–") : percent(value);
        out += best ? "<td><b>" + text + "</b></td>" : "<td>" + text + "</td>";
      }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n<p class=\"nt\">" + escape_html(note) + "</p>\n";
}

/// "near AUROC 95.6 ± 0.2, far AUROC 99.9"
std::string in_words(const demo_result& r, std::string_view study, std::string_view setting) {
  std::string out;
  for (const auto& set : names(r, study, &stream_outcome::set)) {
    const auto value = of(r, study, setting, set, auroc);
    if (value.n > 0) out += (out.empty() ? "" : ", ") + set + " " + percent(value) + " %";
  }
  return out;
}

}  // namespace

std::string study_html(const demo_result& r) {
  if (r.study.empty()) return {};
  std::string out =
      "<p>Streams of 1,000 ID test images mixed with OOD images (near: 500 of other clothes; far: letters, emoji and "
      "textures together), from an empty memory unless said otherwise. All numbers are per cent, mean ± sample "
      "standard "
      "deviation over seeds or orders; bold is the best of a column at the digits shown. Guards are the library's "
      "standard ones (near-duplicates, a quarter of the memory per thousand images, a stop when the memory turns 10 % "
      "of a "
      "window's decisions) with 200 canaries.</p>\n";
  out += study_table(
      r, "ablation", "What selection, memory and its condition each contribute", "Step",
      {{"AUROC", auroc, 1},
       {"FPR95, ID positive", fpr_id, -1},
       {"FPR95, OOD positive", fpr_ood, -1},
       {"ID accepted", kept, 0},
       {"entered", entered, 0}},
      "The steps of InterNeg's Table 3, each row adding to the one before; one group of negatives throughout. FPR95 in "
      "both conventions of the published tables: share of OOD images accepted at 95 % of ID images, and share of ID "
      "images rejected at 95 % of OOD images. ID accepted: at the threshold set without memory. Entered: share of the "
      "inverted images. Over the seeds.");
  out +=
      study_table(r, "order", "Five orders of the same images", "Detector",
                  {{"AUROC", auroc, 1}, {"ID accepted", kept, 0}, {"inverted", inverted, 0}, {"entered", entered, 0}},
                  "First seed. Without memory no order matters.");
  out += study_table(
      r, "ratio", "ID to OOD images from 1:100 to 100:1", "Detector", {{"AUROC", auroc, 1}, {"ID accepted", kept, 0}},
      "10, 100, 500 and 1,000 images of either side, OOD images of all sets; five draws each, first seed.");
  out += study_table(
      r, "protocol", "A memory emptied before every set, and one that goes on", "Protocol",
      {{"AUROC", auroc, 1}, {"ID accepted", kept, 0}},
      "250 ID images with each set, one set after the other. Emptying knows where a set ends; a detector in "
      "use does not. "
      "Over the seeds.");
  out +=
      study_table(r, "inversion", "Steps and templates of the inversion", "Inversion",
                  {{"AUROC", auroc, 1}, {"ID accepted", kept, 0}, {"entered", entered, 0}, {"cosine × 100", cosine, 0}},
                  "400 ID and up to 400 OOD images, first seed. Cosine: of the inverted feature and its image. "
                  "The 80 templates "
                  "are ours, made of two nouns, ten looks and four articles.");
  return out;
}

ordered_json study_json(const demo_result& r) {
  auto out = ordered_json::array();
  for (const auto& o : r.study)
    out.push_back({{"study", o.study},
                   {"setting", o.setting},
                   {"set", o.set},
                   {"seed", o.seed},
                   {"order", o.order},
                   {"id_images", o.id_images},
                   {"ood_images", o.ood_images},
                   {"inverted", o.inverted},
                   {"admitted", o.admitted},
                   {"memory", o.memory},
                   {"drifted", o.drifted},
                   {"auroc", o.auroc},
                   {"fpr95", {{"id_positive_nearest", o.fpr_id_positive}, {"ood_positive_first", o.fpr_ood_positive}}},
                   {"id_recall", o.id_recall},
                   {"inversion_cosine", o.inversion_cosine}});
  return out;
}

void add_study_findings(demo_result& r) {
  const auto steps = names(r, "ablation", &stream_outcome::setting);
  if (!steps.empty()) {
    std::string text = "Ablation of InterNeg, mean AUROC step by step: ";
    for (std::size_t i = 0; i < steps.size(); ++i)
      text += (i == 0 ? "" : "; ") + steps[i] + ": " + in_words(r, "ablation", steps[i]);
    r.findings.push_back(text + ".");
  }
  const auto orders = names(r, "order", &stream_outcome::setting);
  for (const auto& setting : orders) {
    double widest = 0;
    for (const auto& set : names(r, "order", &stream_outcome::set))
      widest = std::max(widest, of(r, "order", setting, set, auroc).sd);
    if (widest > 0)
      r.findings.push_back("Order of a stream, " + setting +
                           ": over five orders of the same images the AUROC has a standard "
                           "deviation of at most " +
                           format_fixed(100 * widest, 2) + " points.");
  }
  index_type stopped = 0, watched = 0;
  for (const auto& o : r.study)
    if (o.setting.find("guard") != std::string::npos) {
      ++watched;
      stopped += o.drifted ? 1 : 0;
    }
  if (watched > 0)
    r.findings.push_back("Watch on drift: it stopped the memory in " + std::to_string(stopped) + " of " +
                         std::to_string(watched) + " guarded streams of the study.");
}

}  // namespace negood::demo
