// report.html: one file, inline SVG and style sheet, no scripts, nothing from elsewhere. Every number in it comes from
// a demo_result.
#include "demo.hpp"
#include "demo_findings.hpp"
#include "demo_study.hpp"
#include "demo_tuning.hpp"
#include "report_svg.hpp"

#include <negood/io/detector.hpp>
#include <negood/io/escape.hpp>
#include <negood/io/number.hpp>
#include <negood/io/png.hpp>

#include <algorithm>
#include <cmath>

namespace negood::demo {
namespace {

using svg::point;

constexpr std::string_view style = R"css(
:root{color-scheme:light dark;--bg:#fff;--fg:#1b1f24;--mu:#57606a;--li:#d5dae0;--sf:#f5f7f9;--ac:#0b5cad;
--c0:#0072b2;--c1:#d55e00;--c2:#00835f;--c3:#b5508f;--c4:#a87000;--c5:#3a3f45;--ok:#00694c;--no:#b03a00}
@media (prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e4e8ec;--mu:#9aa5b1;--li:#39414a;--sf:#1d2228;--ac:#7cc0f5;
--c0:#56b4e9;--c1:#f58b4c;--c2:#2fc79b;--c3:#e69ac8;--c4:#e3b341;--c5:#c3cad1;--ok:#45d3a8;--no:#ff9a66}}
*{box-sizing:border-box}
body{margin:0;background:var(--bg);color:var(--fg);font:16px/1.55 system-ui,-apple-system,"Segoe UI",Roboto,"DejaVu Sans",sans-serif;-webkit-text-size-adjust:100%}
main{max-width:1040px;margin:0 auto;padding:28px 20px 60px}
h1{font-size:1.7rem;line-height:1.2;margin:0 0 .5rem}
h2{font-size:1.22rem;margin:2.6rem 0 .5rem;padding-top:.9rem;border-top:1px solid var(--li)}
h3{font-size:.95rem;margin:1.1rem 0 .3rem}
p,ul,dl{max-width:46rem;margin:.5rem 0}
.mu,figcaption,.nt{color:var(--mu)}
.hd{border-left:4px solid var(--ac);background:var(--sf);padding:.8rem 1rem;margin:1.2rem 0;max-width:none;font-size:1.06rem}
.tw{overflow-x:auto;margin:.8rem 0 .3rem}
table{border-collapse:separate;border-spacing:0;font-size:.86rem;font-variant-numeric:tabular-nums;width:100%}
caption{text-align:left;font-weight:600;padding-bottom:.35rem}
th,td{padding:.3rem .55rem;border-bottom:1px solid var(--li);text-align:right}
td{white-space:nowrap}thead th{min-width:3.9rem}
th:first-child,td:first-child{text-align:left;position:sticky;left:0;background:var(--bg)}
thead th{border-bottom:2px solid var(--mu);vertical-align:bottom}
tbody th{font-weight:500}
td b{color:var(--ac)}
.nt{font-size:.84rem;max-width:52rem}
ul.fi{padding-left:1.1rem}
ul.fi li{margin:.4rem 0}
figure{margin:1rem 0;break-inside:avoid}
figcaption{font-size:.88rem;max-width:52rem;margin-top:.5rem}
.g2,.g3,.g4{display:grid;gap:14px 18px}
.mp{max-width:800px}
.g2{grid-template-columns:repeat(auto-fit,minmax(min(100%,400px),1fr))}
.g3{grid-template-columns:repeat(auto-fit,minmax(min(100%,290px),1fr))}
.g4{grid-template-columns:repeat(auto-fit,minmax(min(100%,225px),1fr))}
.pn{break-inside:avoid;min-width:0}
.pn>p:first-child{margin:0 0 2px;font-size:.86rem;font-weight:600}
svg{display:block;width:100%;height:auto}
.lg{display:flex;flex-wrap:wrap;gap:2px 16px;margin:.3rem 0 .7rem;font-size:.86rem;max-width:none;padding:0;list-style:none}
.lg li{display:flex;align-items:center;gap:6px}
.lg svg{width:26px;height:12px;flex:none}
.au{font-size:.8rem;margin:2px 0 0;color:var(--mu);font-variant-numeric:tabular-nums;max-width:none}
svg text{font-family:inherit;fill:var(--mu);font-size:10.5px}
svg .at{font-size:11px;fill:var(--fg)}
.gr{stroke:var(--li);stroke-width:.6;fill:none}.ax{stroke:var(--mu);stroke-width:1;fill:none}
.c0{--c:var(--c0)}.c1{--c:var(--c1);--d:7 3}.c2{--c:var(--c2);--d:2 2.5}.c3{--c:var(--c3);--d:9 3 2 3}.c4{--c:var(--c4);--d:4 2}.c5{--c:var(--c5)}.c6{--c:var(--mu);--d:5 4}
.ln{fill:none;stroke:var(--c);stroke-width:1.8;stroke-dasharray:var(--d,none);stroke-linejoin:round}
.so{--d:none}.th{stroke-width:1.2}
.ar{fill:var(--c);fill-opacity:.2;stroke:none}
.vl{stroke:var(--c);stroke-width:1.2;stroke-dasharray:5 4;fill:none}
.pt{fill:var(--c);fill-opacity:.55}.mk{fill:none;stroke:var(--c);stroke-width:1.3;stroke-opacity:.8}
.bg{fill-opacity:1;stroke:var(--bg);stroke-width:1}.mk.bg{stroke:var(--c);stroke-width:2.4;stroke-opacity:1}
svg .lb{fill:var(--c);font-size:12.5px;font-weight:600;paint-order:stroke;stroke:var(--bg);stroke-width:3px;stroke-linejoin:round}
.ld{stroke:var(--c);stroke-width:.7;fill:none}
.ex{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:12px;max-width:none;padding:0;list-style:none}
.ex li{border:1px solid var(--li);border-radius:6px;padding:9px;font-size:.82rem;line-height:1.4;break-inside:avoid;overflow-wrap:anywhere}
.ex img{display:block;width:84px;height:84px;object-fit:contain;image-rendering:pixelated;background:#fff;border:1px solid var(--li);margin-bottom:6px}
.ok{color:var(--ok);font-weight:600}.no{color:var(--no);font-weight:600}
.wd{display:flex;flex-wrap:wrap;gap:6px;padding:0;list-style:none}
.wd li{background:var(--sf);border:1px solid var(--li);border-radius:4px;padding:1px 8px;font-size:.88rem}
dl{display:grid;grid-template-columns:minmax(8rem,auto) 1fr;gap:.25rem 1rem;font-size:.9rem;max-width:none}
dt{color:var(--mu)}dd{margin:0;overflow-wrap:anywhere}
pre{background:var(--sf);border:1px solid var(--li);border-radius:6px;padding:.7rem .9rem;overflow-x:auto;font-size:.86rem}
code{font-family:ui-monospace,"DejaVu Sans Mono",monospace;font-size:.92em}
details summary{cursor:pointer}
@media (max-width:520px){table{font-size:.8rem}th,td{padding:.3rem .4rem}th:first-child{max-width:6.6rem}main{padding:18px 14px 40px}dl{grid-template-columns:1fr;gap:0}dd{margin-bottom:.5rem}.ex{grid-template-columns:repeat(2,1fr)}}
@media print{:root{color-scheme:light;--bg:#fff;--fg:#000;--mu:#444;--li:#bbb;--sf:#f4f4f4;--ac:#004a8f;--c0:#0072b2;--c1:#d55e00;--c2:#00835f;--c3:#b5508f;--c4:#a87000;--c5:#3a3f45;--ok:#00694c;--no:#b03a00}
body{font-size:10.5pt}main{max-width:none;padding:0}h2,h3{break-after:avoid}.tw{overflow:visible}th,td{padding:.2rem .35rem}table{font-size:8.5pt}
.g2{grid-template-columns:1fr 1fr}.g3{grid-template-columns:repeat(3,1fr)}.g4{grid-template-columns:repeat(4,1fr)}}
)css";

std::string e(std::string_view text) { return escape_html(text); }

/// "near: other clothes" as a title.
std::string title_of(const demo_result& r, std::size_t set) {
  if (set == 0) return "ID: test images";
  std::string name = r.sets[set].name;
  if (!name.empty() && name[0] >= 'a' && name[0] <= 'z') name[0] = static_cast<char>(name[0] - 'a' + 'A');
  return name;
}

/// Escaped, and with numbers kept on one line with their unit and spread.
std::string sentence(std::string_view text) {
  std::string out = escape_html(text);
  for (const auto& [from, to] : {std::pair<std::string_view, std::string_view>{" \u00b1 ", "\u00a0\u00b1\u00a0"},
                                 {" % ", "\u00a0% "},
                                 {" %.", "\u00a0%."},
                                 {" %)", "\u00a0%)"},
                                 {" %,", "\u00a0%,"},
                                 {" %;", "\u00a0%;"},
                                 {" points", "\u00a0points"}})
    for (std::size_t at = 0; (at = out.find(from, at)) != std::string::npos; at += to.size())
      out.replace(at, from.size(), to);
  return out;
}

std::string tag(std::string_view element, const std::string& inside) {
  return "<" + std::string(element) + ">" + inside + "</" + std::string(element.substr(0, element.find(' '))) + ">";
}

std::string panel(std::string_view title, const std::string& picture, const std::string& below = {}) {
  return "<div class=\"pn\"><p>" + e(title) + "</p>" + picture + below + "</div>\n";
}

std::string figure(std::string_view grid, const std::string& legend, const std::string& panels,
                   const std::string& caption) {
  return "<figure>" + legend + "<div class=\"" + std::string(grid) + "\">\n" + panels + "</div><figcaption>" + caption +
         "</figcaption></figure>\n";
}

std::string line_swatch(std::string_view css) {
  return "<svg viewBox=\"0 0 26 12\" aria-hidden=\"true\"><path class=\"ln " + std::string(css) +
         "\" d=\"M1 6H25\"/></svg>";
}
std::string area_swatch(std::string_view css) {
  return "<svg viewBox=\"0 0 26 12\" aria-hidden=\"true\"><path class=\"ar " + std::string(css) +
         "\" d=\"M1 1H25V11H1Z\"/><path class=\"ln " + std::string(css) + "\" d=\"M1 1H25\"/></svg>";
}
std::string legend(const std::vector<std::pair<std::string, std::string>>& swatch_and_text) {
  std::string out = "<ul class=\"lg\">";
  for (const auto& [swatch, text] : swatch_and_text) out += "<li>" + swatch + e(text) + "</li>";
  return out + "</ul>";
}

/// 10572 as "10,572".
std::string thousands(index_type n) {
  std::string out = std::to_string(n);
  for (std::size_t at = out.size(); at > 3; at -= 3) out.insert(at - 3, ",");
  return out;
}

/// The colour class of a set: 0 is ID.
std::string set_css(std::size_t set) { return "c" + std::to_string(std::min<std::size_t>(set, 5)); }

std::size_t set_index(const demo_result& r, std::string_view name) {
  const auto it = std::ranges::find_if(r.sets, [&](const scored_set& s) { return s.name == name; });
  return static_cast<std::size_t>(it - r.sets.begin());
}

/// Scores of the first seed, ID first; nothing where they were not kept.
const std::vector<std::vector<double>>* kept_scores(const demo_result& r, const method_result* m) {
  if (m == nullptr) return nullptr;
  for (const auto& run : m->runs)
    if (run.scores.size() == r.sets.size() && !run.scores.empty()) return &run.scores;
  return nullptr;
}

// ---- table -----------------------------------------------------------------------------------------------------

/// Cells of one table: a column of spreads a set, the best of each column bold.
struct table {
  std::vector<std::string> head;
  std::vector<std::vector<spread>> columns;  ///< [column][method]
  std::vector<int> better;                   ///< +1 higher is better, -1 lower, 0 nothing is bold
  std::vector<bool> flag_low;                ///< mark values below one half
};

std::string cell(const table& t, std::size_t column, std::size_t method) {
  const auto& all = t.columns[column];
  std::string text = percent(all[method]);
  if (all[method].n == 0) return "<td>n/a</td>";
  double best = all[method].mean;
  for (const auto& s : all)
    if (s.n > 0 && t.better[column] * s.mean > t.better[column] * best) best = s.mean;
  const bool first = t.better[column] != 0 && format_fixed(100 * best, 1) == format_fixed(100 * all[method].mean, 1);
  if (first) text = "<b>" + text + "</b>";
  if (t.flag_low[column] && all[method].mean < 0.5) text += " †";
  return "<td>" + text + "</td>";
}

std::string table_html(const demo_result& r, const table& t, const std::string& caption,
                       const std::vector<std::string>& last = {}, const std::string& last_head = {}) {
  std::string out =
      "<div class=\"tw\"><table><caption>" + caption + "</caption><thead><tr><th scope=\"col\">Method</th>";
  for (const auto& h : t.head) out += "<th scope=\"col\">" + h + "</th>";
  if (!last.empty()) out += "<th scope=\"col\">" + last_head + "</th>";
  out += "</tr></thead><tbody>\n";
  for (std::size_t m = 0; m < r.methods.size(); ++m) {
    out += "<tr><th scope=\"row\">" + e(r.methods[m].title) + "</th>";
    for (std::size_t c = 0; c < t.columns.size(); ++c) out += cell(t, c, m);
    if (!last.empty()) out += "<td>" + last[m] + "</td>";
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n";
}

std::string results_tables(const demo_result& r) {
  table a, f;
  const auto add = [&](table& t, std::string head, int better, bool flag, auto&& values) {
    t.head.push_back(std::move(head));
    t.better.push_back(better);
    t.flag_low.push_back(flag);
    auto& column = t.columns.emplace_back();
    for (const auto& m : r.methods) column.push_back(summarise(values(m)));
  };
  std::size_t far = 0;
  for (std::size_t k = 1; k < r.sets.size(); ++k) {
    far += r.sets[k].near ? 0 : 1;
    add(a, e(title_of(r, k)), 1, true, [&](const auto& m) { return values_of(m, k - 1, &metric_values::auroc); });
    add(f, e(title_of(r, k)), -1, false, [&](const auto& m) { return fpr_of(m, k - 1); });
  }
  if (far > 0) {
    add(a, "Mean of far", 1, true,
        [&](const auto& m) { return values_of(r, m, set_group::far, &metric_values::auroc); });
    add(f, "Mean of far", -1, false, [&](const auto& m) { return fpr_of(r, m, set_group::far); });
  }
  add(a, "ID accuracy", 1, false, [&](const auto& m) { return values_of(m, &method_run::id_accuracy); });
  add(f, "ID accepted", 0, false, [&](const auto& m) { return values_of(m, &method_run::id_recall); });

  std::vector<std::string> seconds;
  for (const auto& m : r.methods) {
    const auto s = summarise(values_of(m, &method_run::seconds));
    seconds.push_back(m.learned && s.n > 0 ? format_fixed(s.mean, 1) + (s.sd > 0 ? " ± " + format_fixed(s.sd, 1) : "")
                                           : "–");
  }
  std::string out = table_html(r, a, "AUROC, per cent, higher is better", seconds, "Learning, s");
  out += table_html(r, f, "FPR95, per cent (ID positive, nearest), lower is better");
  out += "<p class=\"nt\">Mean ± sample standard deviation over " + std::to_string(r.seeds.size()) +
         (r.seeds.size() == 1 ? " seed" : " seeds") +
         "; no ± where nothing depends on the seed. Bold: the best of a column at the digits shown. † below 50 %: OOD "
         "images score higher than ID images more often than not. FPR95 is the share of OOD images accepted at the "
         "threshold whose share of accepted ID test images is closest to 95 %; results.json has the two other "
         "conventions in use, and AUPR. ID accepted is the share of ID test images above the threshold that was set on "
         "held-back images (95 % wanted). Learning is the time on this machine, from cached image features";
  const auto* n = find_method(r, "negprompt");
  if (n != nullptr && !n->runs.empty() && !n->runs[0].trace.empty() && n->runs[0].trace.front().stage == 2)
    out += "; that of " + e(n->title) + " is its second stage alone, on the positives of CoOp";
  out += ".</p>\n<dl>";
  for (const auto& m : r.methods) out += tag("dt", e(m.title)) + tag("dd", e(m.description));
  return out + "</dl>\n";
}

// ---- curves ----------------------------------------------------------------------------------------------------

constexpr const char* shown_methods[] = {"negprompt", "coop", "mcm", "energy", "neglabel"};

std::string roc_figure(const demo_result& r) {
  std::vector<std::pair<const method_result*, std::string>> shown;
  for (std::size_t i = 0; i < std::size(shown_methods); ++i)
    if (const auto* m = find_method(r, shown_methods[i]); kept_scores(r, m) != nullptr)
      shown.emplace_back(m, "c" + std::to_string(i));
  if (shown.empty()) return {};
  std::vector<std::pair<std::string, std::string>> keys;
  for (const auto& [m, css] : shown) keys.emplace_back(line_swatch(css), m->title);
  keys.emplace_back("<svg viewBox=\"0 0 26 12\" aria-hidden=\"true\"><path class=\"vl c6\" d=\"M1 6H25\"/></svg>",
                    "95 % of ID accepted");
  std::string panels;
  for (std::size_t k = 1; k < r.sets.size(); ++k) {
    svg::chart c(430, 320, {0, 1, "OOD images accepted, %", 100, 5}, {0, 1, "ID images accepted, %", 100, 5},
                 "ROC curves on " + r.sets[k].name);
    c.line(std::vector<point>{{0, 0}, {1, 1}}, "c6 th");
    c.horizontal(0.95, "c6");
    std::string values;
    for (auto it = shown.rbegin(); it != shown.rend(); ++it) {
      const auto& scores = *kept_scores(r, it->first);
      c.line(svg::thin(svg::roc(scores[0], scores[k]), 0.0015), it->second);
    }
    for (const auto& [m, css] : shown) {
      const auto& run = m->runs[0];
      if (k - 1 < run.metrics.size() && run.metrics[k - 1].values)
        values += (values.empty() ? "AUROC: " : " · ") + e(m->title) + " " +
                  format_fixed(100 * run.metrics[k - 1].values->auroc, 1);
    }
    panels += panel(title_of(r, k), c.str(), "<p class=\"au\">" + values + "</p>");
  }
  return figure("g2", legend(keys), panels,
                "How to read it: a threshold moves from strict (lower left) to lax (upper right); good detectors climb "
                "steeply along the left edge. The diagonal is guessing, and a curve below it ranks OOD above ID. FPR95 "
                "is where a curve crosses the dashed horizontal line. First seed; computed from all scores, drawn to "
                "within 0.15 % of the axis.");
}

// ---- histograms ------------------------------------------------------------------------------------------------

std::string histogram_row(const demo_result& r, const method_result& m) {
  const auto* scores = kept_scores(r, &m);
  if (scores == nullptr) return {};
  double low = 1e300, high = -1e300;
  for (const auto& list : *scores)
    for (const double v : list) {
      low = std::min(low, v);
      high = std::max(high, v);
    }
  auto x = svg::fitted(low, high, m.title + " score", 0, 4);
  constexpr std::size_t bins = 44;
  std::vector<std::vector<double>> shares;
  double top = 0;
  for (const auto& list : *scores) {
    shares.push_back(svg::histogram(list, x.low, x.high, bins));
    top = std::max(top, *std::ranges::max_element(shares.back()));
  }
  std::string out;
  const double threshold = m.runs[0].threshold;
  for (std::size_t k = 1; k < r.sets.size(); ++k) {
    const double ceiling = std::max(*std::ranges::max_element(shares[0]), *std::ranges::max_element(shares[k]));
    svg::chart c(250, 205, x, {0, ceiling * 1.06, k == 1 ? "share of images, %" : "", 100, 4},
                 m.title + " scores of ID images and of " + r.sets[k].name);
    c.bars(shares[0], "c0");
    c.bars(shares[k], "c1 so");
    if (std::isfinite(threshold) && threshold >= x.low && threshold <= x.high) c.vertical(threshold, "c5");
    const auto& ood = (*scores)[k];
    const auto accepted = std::ranges::count_if(ood, [&](double v) { return v >= threshold; });
    const double share = ood.empty() ? 0 : static_cast<double>(accepted) / static_cast<double>(ood.size());
    out += panel(title_of(r, k), c.str(),
                 "<p class=\"au\">accepted: " + format_fixed(100 * m.runs[0].id_recall, 1) + " % of ID, " +
                     format_fixed(100 * share, 1) + " % of OOD</p>");
  }
  return out;
}

std::string histogram_figures(const demo_result& r) {
  const auto key = legend(
      {{area_swatch("c0"), "ID test images"},
       {area_swatch("c1 so"), "OOD images"},
       {"<svg viewBox=\"0 0 26 12\" aria-hidden=\"true\"><path class=\"vl c5\" d=\"M13 0V12\"/></svg>", "threshold"}});
  std::string out;
  for (const char* name : {"negprompt", "energy"}) {
    const auto* m = find_method(r, name);
    if (m == nullptr) continue;
    const std::string row = histogram_row(r, *m);
    if (row.empty()) continue;
    out += "<h3>" + e(m->title) + "</h3>" +
           figure("g4", key, row,
                  "How to read it: images to the right of the threshold are accepted as known. The two hills should "
                  "stand apart, ID on the right; where they overlap no threshold can tell them apart. The threshold "
                  "was set on held-back ID images, never on OOD images. First seed.");
  }
  return out;
}

// ---- similarities ----------------------------------------------------------------------------------------------

std::string similarity_figure(const demo_result& r) {
  struct drawn {
    std::size_t set;
    std::vector<double> positive, negative, gap;
  };
  std::vector<drawn> all;
  for (std::size_t k = 0; k < r.sets.size(); ++k) {
    drawn d{k, {}, {}, {}};
    for (const auto& s : r.similarities)
      if (s.set == r.sets[k].name) (s.prompt == "positive" ? d.positive : d.negative) = s.cosines;
    if (d.positive.size() == d.negative.size())
      for (std::size_t i = 0; i < d.positive.size(); ++i) d.gap.push_back(d.positive[i] - d.negative[i]);
    if (!d.positive.empty()) all.push_back(std::move(d));
  }
  if (all.empty()) return {};
  std::vector<std::pair<std::string, std::string>> keys;
  for (const auto& d : all)
    keys.emplace_back(d.set == 0 ? area_swatch(set_css(0)) : line_swatch(set_css(d.set)), title_of(r, d.set));
  const auto range = [&](std::initializer_list<std::vector<double> drawn::*> members) {
    double low = 1e300, high = -1e300;
    for (const auto& d : all)
      for (const auto member : members)
        for (const double v : d.*member) {
          low = std::min(low, v);
          high = std::max(high, v);
        }
    return std::pair<double, double>(low, high);
  };
  std::string panels;
  const auto draw = [&](std::string_view title, std::string axis_title, std::vector<double> drawn::*member,
                        std::pair<double, double> span) {
    if (!(span.first <= span.second)) return;
    const auto x = svg::fitted(span.first, span.second, std::move(axis_title), 0.002, 5);
    constexpr std::size_t bins = 40;
    double top = 0;
    std::vector<std::vector<double>> shares;
    for (const auto& d : all) {
      shares.push_back(svg::histogram(d.*member, x.low, x.high, bins));
      top = std::max(top, *std::ranges::max_element(shares.back()));
    }
    svg::chart c(340, 260, x, {0, top * 1.05, "share of images, %", 100, 5}, title);
    for (std::size_t i = 0; i < all.size(); ++i) {
      if ((all[i].*member).empty()) continue;
      if (all[i].set == 0) {
        c.bars(shares[i], set_css(0));
        continue;
      }
      std::vector<point> line;
      for (std::size_t b = 0; b < bins; ++b)
        line.push_back({x.low + (x.high - x.low) * (static_cast<double>(b) + 0.5) / bins, shares[i][b]});
      c.line(svg::thin(line, 0.002, {x.high - x.low, top}), set_css(all[i].set));
    }
    panels += panel(title, c.str());
  };
  const auto common = range({&drawn::positive, &drawn::negative});
  draw("To the nearest positive prompt", "cosine", &drawn::positive, common);
  draw("To the nearest negative prompt", "cosine", &drawn::negative, common);
  draw("Positive minus negative", "difference of the two cosines", &drawn::gap, range({&drawn::gap}));
  return figure(
      "g3", legend(keys), panels,
      "How to read it (after Fig. 3 of the NegPrompt paper): for every image the largest cosine to the "
      "positive prompts (left) and to the negative prompts (middle) of NegPrompt. The method wants OOD images "
      "at least as close to the negatives as ID images are; the difference of the two (right) should then be "
      "larger for ID. Share of images in each of 40 bins; first seed.");
}

// ---- map -------------------------------------------------------------------------------------------------------

std::string map_figure(const demo_result& r) {
  if (r.map.empty()) return {};
  double x0 = 1e300, x1 = -1e300, y0 = 1e300, y1 = -1e300;
  for (const auto& p : r.map) {
    x0 = std::min(x0, p.x);
    x1 = std::max(x1, p.x);
    y0 = std::min(y0, p.y);
    y1 = std::max(y1, p.y);
  }
  svg::chart c(680, 500, svg::fitted(x0, x1, "first principal component of the image features", 0, 6),
               svg::fitted(y0, y1, "second principal component", 0, 6), "Map of image and text features");
  std::vector<std::size_t> counts(r.sets.size(), 0);
  std::vector<svg::chart::label> labels;
  for (const auto& p : r.map) {
    const auto set = p.kind == "id image" ? 0 : set_index(r, p.kind);
    if (set == r.sets.size()) continue;
    ++counts[set];
    c.mark({p.x, p.y}, static_cast<int>(std::min<std::size_t>(set, 4)), 2.8, set_css(set));
  }
  std::vector<std::pair<std::string, point>> seen;
  for (const auto& p : r.map) {
    const bool positive = p.kind == "positive text";
    if (!positive && p.kind != "negative text") continue;
    c.mark({p.x, p.y}, positive ? 2 : 5, positive ? 4.5 : 4, "c5 bg");
    // The p negatives of a class often lie on one point: one label for them.
    const auto near_one = [&](const auto& s) {
      return s.first == p.label && std::abs(s.second.x - p.x) < 0.02 * (x1 - x0) &&
             std::abs(s.second.y - p.y) < 0.02 * (y1 - y0);
    };
    if (std::ranges::any_of(seen, near_one)) continue;
    seen.emplace_back(p.label, point{p.x, p.y});
    labels.push_back({{p.x, p.y}, p.label, "c5"});
  }
  c.labels(labels, 12.5);
  std::vector<std::pair<std::string, std::string>> keys;
  const auto swatch = [](int shape, const std::string& css) {
    static const char* const shapes[] = {"M13 2.5a3.5 3.5 0 1 0 .01 0z",     "M13 2l4 8h-8z", "M9.5 2.5h7v7h-7z",
                                         "M13 1.5l4.5 4.5-4.5 4.5-4.5-4.5z", "M9 6h8m-4-4v8", "M9.5 2.5l7 7m-7 0l7-7"};
    return "<svg viewBox=\"0 0 26 12\" aria-hidden=\"true\"><path class=\"" + std::string(shape >= 4 ? "mk" : "pt") +
           " bg " + css + "\" d=\"" + shapes[shape] + "\"/></svg>";
  };
  for (std::size_t k = 0; k < r.sets.size(); ++k)
    if (counts[k] > 0)
      keys.emplace_back(swatch(static_cast<int>(std::min<std::size_t>(k, 4)), set_css(k)),
                        title_of(r, k) + " (" + std::to_string(counts[k]) + ")");
  keys.emplace_back(swatch(2, "c5"), "positive prompts");
  keys.emplace_back(swatch(5, "c5"), "negative prompts");
  return figure(
      "mp", legend(keys), panel("Images and prompts of NegPrompt in one plane", c.str()),
      "How to read it (after Fig. 4 of the NegPrompt paper): a sample of the images and all prompts, projected "
      "on the two directions in which the image features vary most (PCA). Images and texts are each centred on "
      "their own mean, because the gap between the two kinds would hide everything else: compare images with "
      "images and texts with texts, and only directions across the two. A plane shows a small part of the "
      "distances. Numbers in brackets: images drawn; first seed.");
}

// ---- training --------------------------------------------------------------------------------------------------

std::string training_figure(const demo_result& r) {
  const auto* coop = find_method(r, "coop");
  const auto* neg = find_method(r, "negprompt");
  std::string panels;
  const auto draw = [&](const method_result* m, std::string_view title, double trace_row::*member, int stage,
                        double least, bool cosine = false) {
    if (m == nullptr) return;
    std::vector<std::vector<point>> lines;
    double low = 1e300, high = -1e300, last = 0;
    for (const auto& run : m->runs) {
      auto& line = lines.emplace_back();
      for (const auto& row : run.trace) {
        if (row.stage != stage || !std::isfinite(row.*member)) continue;
        line.push_back({static_cast<double>(row.step + 1), row.*member});
        low = std::min(low, row.*member);
        high = std::max(high, row.*member);
        last = std::max(last, line.back().x);
      }
    }
    if (!(low <= high)) return;
    auto y = svg::fitted(low, high, "", least, 4);
    if (cosine && y.high > 1) y.high = 1 + 0.02 * (1 - y.low);  // a cosine ends at 1
    svg::chart c(330, 215, {0, std::max(last, 1.0), "step", 1, 5}, y, title);
    for (std::size_t i = 0; i < lines.size(); ++i)
      c.line(svg::thin(lines[i], 0.003, {std::max(last, 1.0), y.high - y.low}),
             "c" + std::to_string(std::min<std::size_t>(i, 4)) + " so th");
    panels += panel(title, c.str());
  };
  draw(coop, "Stage 1: cross-entropy of the positives", &trace_row::cross_entropy, 1, 0.01);
  if (coop == nullptr || panels.empty())
    draw(neg, "Stage 1: cross-entropy of the positives", &trace_row::cross_entropy, 1, 0.01);
  draw(neg, "Stage 2: NIS", &trace_row::nis, 2, 0.01);
  draw(neg, "Stage 2: NPD", &trace_row::npd, 2, 0.01);
  const bool pairwise = neg != nullptr && std::ranges::all_of(neg->runs, [](const method_run& run) {
                          return std::ranges::all_of(
                              run.trace, [](const trace_row& t) { return t.stage != 2 || t.nnd == t.mean_cosine; });
                        });
  if (!pairwise) draw(neg, "Stage 2: NND", &trace_row::nnd, 2, 0.01);
  draw(neg, pairwise ? "Stage 2: NND = mean pairwise cosine" : "Stage 2: mean pairwise cosine of the negatives",
       &trace_row::mean_cosine, 2, 0.02, true);
  draw(neg, "Stage 2: total loss", &trace_row::loss, 2, 0.01);
  draw(neg, "Stage 2: gradient norm", &trace_row::gradient_norm, 2, 0);
  if (panels.empty()) return {};
  std::vector<std::pair<std::string, std::string>> keys;
  for (std::size_t i = 0; i < r.seeds.size(); ++i)
    keys.emplace_back(line_swatch("c" + std::to_string(std::min<std::size_t>(i, 4)) + " so th"),
                      "seed " + std::to_string(r.seeds[i]));
  return figure(
      "g3", legend(keys), panels,
      "How to read it: NIS is small when an ID image is equally far from all negatives (its lower bound is the "
      "logarithm of their number), NPD is minus the mean cosine of a negative to its own positive, NND the mean "
      "pairwise cosine of the negatives of a class; the terms are unweighted, their weights are among the "
      "options below. A pairwise cosine that stays at 1 means that the negatives of a class "
      "are one and the same prompt.");
}

// ---- learning at test time -------------------------------------------------------------------------------------

std::string stream_figure(const demo_result& r) {
  if (r.streams.empty()) return {};
  std::string panels;
  const auto draw = [&](std::string_view title, std::vector<double> stream_trace::*values, double unit, double least) {
    double low = 1e300, high = -1e300;
    std::vector<std::vector<point>> lines;
    for (const auto& s : r.streams) {
      auto& line = lines.emplace_back();
      for (std::size_t i = 0; i < s.at.size(); ++i) {
        const double y = (s.*values)[i];
        if (!std::isfinite(y)) continue;
        line.push_back({s.at[i] / static_cast<double>(s.images), y});
        low = std::min(low, y);
        high = std::max(high, y);
      }
    }
    if (!(low <= high)) return;
    auto y = svg::fitted(low, high, "", least, 4);
    y.unit = unit;
    if (unit == 100) y.high = std::min(y.high, 1.0 + 0.02 * (1 - y.low));
    svg::chart c(440, 230, {0, 1, "share of the stream seen, %", 100, 5}, y, title);
    for (std::size_t k = 0; k < lines.size(); ++k)
      c.line(svg::thin(lines[k], 0.002, {1, y.high - y.low}), set_css(k + 1));
    panels += panel(title, c.str());
  };
  draw("Rows of the memory", &stream_trace::memory, 1, 10);
  draw("Inverted images that entered, % so far", &stream_trace::acceptance, 100, 0.02);
  draw("AUROC so far, %", &stream_trace::running, 100, 0.01);
  draw("AUROC of each fortieth of the stream, %", &stream_trace::window, 100, 0.01);
  std::vector<std::pair<std::string, std::string>> keys;
  for (std::size_t k = 0; k < r.streams.size(); ++k)
    keys.emplace_back(line_swatch(set_css(k + 1)), title_of(r, k + 1) + " (" + std::to_string(r.streams[k].images) +
                                                       " images, " + std::to_string(r.streams[k].considered) +
                                                       " inverted, " + std::to_string(r.streams[k].admitted) +
                                                       " entered)");
  return figure(
      "g2", legend(keys), panels,
      "How to read it: ID and OOD test images come mixed, in an order drawn from the seed. What scores below the "
      "threshold of the static detector is inverted to a text feature, and enters the memory where that feature "
      "is farther from every class's images than the class's own name. Scores of early images were made with "
      "a small memory and of late ones with a large one: the lower right panel shows each stretch by itself. "
      "The memory is emptied before every set, as in the published protocol, which therefore knows where one "
      "set ends. First seed.");
}

// ---- pictures --------------------------------------------------------------------------------------------------

std::string base64(const byte_vector& bytes) {
  static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t i = 0; i < bytes.size(); i += 3) {
    const auto byte = [&](std::size_t k) { return i + k < bytes.size() ? static_cast<unsigned>(bytes[i + k]) : 0U; };
    const unsigned word = byte(0) << 16 | byte(1) << 8 | byte(2);
    out += digits[word >> 18];
    out += digits[word >> 12 & 63];
    out += i + 1 < bytes.size() ? digits[word >> 6 & 63] : '=';
    out += i + 2 < bytes.size() ? digits[word & 63] : '=';
  }
  return out;
}

/// At most 72 pixels a side, by taking every n-th: the report has to stay small.
image small(const image& picture) {
  const index_type step = (std::max(picture.width, picture.height) + 71) / 72;
  if (step <= 1) return picture;
  image out(std::max<index_type>(1, picture.width / step), std::max<index_type>(1, picture.height / step));
  for (index_type y = 0; y < out.height; ++y)
    for (index_type x = 0; x < out.width; ++x) std::copy_n(picture.pixel(x * step, y * step), 3, out.pixel(x, y));
  return out;
}

std::string decision_text(const example_decision& d, bool id) {
  const char* yes = "<span class=\"ok\">✓ ";
  const char* no = "<span class=\"no\">✗ ";
  if (id && d.is_unknown) return std::string(no) + "unknown</span>, wrong";
  if (id && d.truth.empty()) return std::string(yes) + "known</span>, right";
  if (id)
    return d.label == d.truth ? std::string(yes) + "known</span>, right"
                              : std::string(no) + "known</span>, other class";
  return d.is_unknown ? std::string(yes) + "unknown</span>, right" : std::string(no) + "known</span>, wrong";
}

std::string examples_section(const demo_result& r) {
  if (r.examples.empty()) return {};
  std::string out = "<p>Decisions of " + e(r.examples_method) +
                    ", first seed. The pictures stand at fixed places of their sets; they were not chosen by what the "
                    "detector says of them.";
  for (const auto& m : r.methods)
    if (m.title == r.examples_method && !m.runs.empty())
      out += " Threshold: " + format_fixed(m.runs[0].threshold, 4) + "; a score below it is called unknown.";
  out += "</p>\n";
  for (std::size_t k = 0; k < r.sets.size(); ++k) {
    std::string items;
    for (const auto& d : r.examples) {
      if (d.set != r.sets[k].name || d.picture.width <= 0) continue;
      std::string truth = d.truth;
      std::ranges::replace(truth, '_', ' ');
      items += "<li><img alt=\"" + e(truth.empty() ? r.sets[k].name : truth) + "\" src=\"data:image/png;base64," +
               base64(png_bytes(small(d.picture))) + "\">" + (truth.empty() ? "" : "is: " + e(truth) + "<br>") +
               "nearest: " + e(d.label) + "<br>score " + format_fixed(d.score, 4) + "<br>" + decision_text(d, k == 0) +
               "</li>\n";
    }
    if (!items.empty()) out += "<h3>" + e(title_of(r, k)) + "</h3><ul class=\"ex\">" + items + "</ul>\n";
  }
  return out +
         "<p class=\"nt\">How to read it: \"nearest\" is the most similar class name; for an OOD image every class "
         "is wrong, and calling it unknown is right.</p>\n";
}

// ---- text ------------------------------------------------------------------------------------------------------

template <class T>
std::string joined(const std::vector<T>& values) {
  std::string out;
  for (const auto& v : values) {
    if (!out.empty()) out += ", ";
    if constexpr (std::is_same_v<T, std::string>)
      out += v;
    else
      out += std::to_string(v);
  }
  return out;
}

std::string findings_section(const demo_result& r) {
  std::string out = "<ul class=\"fi\">\n";
  for (const auto& f : r.findings) {
    const auto end = f.find(". ");
    out += "<li>";
    if (end != std::string::npos) out += "<strong>" + sentence(f.substr(0, end + 1)) + "</strong>";
    out += sentence(end == std::string::npos ? f : f.substr(end + 1)) + "</li>\n";
  }
  return out +
         "</ul>\n<p class=\"nt\">Made from the numbers above. Differences are taken seed by seed; a difference "
         "smaller than its standard deviation over the seeds, or than 0.05 points, is called no clear "
         "difference.</p>\n";
}

std::string protocol_section(const demo_result& r) {
  std::string out = "<h3>Data</h3><dl>";
  const auto row = [&](std::string_view key, const std::string& value) {
    if (!value.empty()) out += tag("dt", e(key)) + tag("dd", e(value)) + "\n";
  };
  row("ID classes", joined(r.id_names));
  row("near-OOD classes", joined(r.near_names));
  row("seeds", joined(r.seeds));
  row("images to learn from", std::to_string(r.shots) + " a class");
  row("held back from the model", r.held_back);
  for (std::size_t k = 0; k < r.sets.size(); ++k)
    row(title_of(r, k), thousands(r.sets[k].images) + " images. " + r.sets[k].description);
  const auto part = [&](std::string_view title) { out += "</dl>\n<h3>" + e(title) + "</h3><dl>\n"; };
  if (!r.options.empty()) part("Options of the learned methods");
  for (const auto& [key, value] : r.options) row(key, value);
  if (!r.gates.empty()) part("Gates");
  for (const auto& [key, value] : r.gates) row(key, value);
  part("Provenance");
  row("model fingerprint", r.model_fingerprint);
  row("made by", r.created_by + ", backend " + r.backend + ", " + r.date + ", in " + format_fixed(r.seconds, 0) + " s");
  out += "</dl>\n";
  if (!r.few_shot_rows.empty())
    out += "<details><summary>Rows of the training file that the first seed learned from</summary><p class=\"nt\">" +
           e(joined(r.few_shot_rows)) + "</p></details>\n";
  const auto warnings = collected_warnings(r);
  if (!warnings.empty()) {
    out += "<h3>Warnings of the training</h3><ul>";
    for (const auto& w : warnings) out += tag("li", e(w));
    out += "</ul>\n";
  }
  return out;
}

std::string intro(const demo_result& r) {
  index_type images = 0;
  for (const auto& s : r.sets) images += s.images;
  return "<p>This page compares ways to tell known from unknown images with a CLIP model: " +
         std::to_string(r.methods.size()) + " methods, " + thousands(images) + " images, " +
         std::to_string(r.seeds.size()) + (r.seeds.size() == 1 ? " seed" : " seeds") +
         ". The model is a small demonstration CLIP that comes with negood. The numbers say how the methods compare on "
         "this model and on these images; they say nothing about a CLIP trained on millions of pictures and cannot be "
         "set "
         "beside published tables. Whichever way a comparison went, it is printed.</p>\n";
}

std::string section(std::string_view title, const std::string& body) {
  return body.empty() ? std::string() : "<section><h2>" + e(title) + "</h2>\n" + body + "</section>\n";
}

}  // namespace

std::string report_html(const demo_result& r) {
  std::string out =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">"
      "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">"
      "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; "
      "style-src 'unsafe-inline'\"><title>negood demonstration: known or unknown?</title><style>" +
      std::string(style) + "</style></head><body><main>\n";
  out += "<h1>Known or unknown? Negative prompts on a small CLIP</h1>\n" + intro(r);
  if (const std::string h = headline(r); !h.empty()) out += "<p class=\"hd\">" + sentence(h) + "</p>\n";
  out += section("Results", results_tables(r));
  if (!r.findings.empty()) out += section("What helped and what did not help, said plainly", findings_section(r));
  out += section("ROC curves", roc_figure(r));
  out += section("Scores of known and unknown images", histogram_figures(r));
  out += section("Similarity to positive and negative prompts", similarity_figure(r));
  out += section("Map of images and prompts", map_figure(r));
  out += section("KR-NFT: what each part does", tuning_html(r));
  out += section("InterNeg at test time", stream_figure(r));
  out += section("A study of InterNeg's memory", study_html(r));
  out += section("Training", training_figure(r));
  out += section("Example images", examples_section(r));
  if (!r.mined_words.empty()) {
    std::string words =
        "<p>The first negative words that NegLabel mined from WordNet, farthest from the ID class names "
        "first.</p><ul class=\"wd\">";
    for (const auto& w : r.mined_words) words += tag("li", e(w));
    out += section("Mined negative words", words + "</ul>\n");
  }
  out += section("Protocol", protocol_section(r));
  out += section(
      "How to reproduce",
      "<p>With the same version, model and seed every number above but the seconds comes out the same:</p>"
      "<pre><code>negood demo" +
          (r.seeds.empty() || r.seeds.front() == 1 ? std::string() : " --seed " + std::to_string(r.seeds.front())) +
          (r.seeds.size() == 3 ? std::string() : " --seeds " + std::to_string(r.seeds.size())) +
          "</code></pre><p>The same numbers with all digits, and those left out here, stand in "
          "<code>results.json</code> beside this file; the detectors of the first seed in "
          "<code>detectors/</code>, ready for <code>negood score</code> and <code>negood decide</code>.</p>\n");
  return out + "</main></body></html>\n";
}

void write_demo(const demo_result& r, const std::filesystem::path& out) {
  const auto folder = out / "detectors";
  std::error_code problem;
  std::filesystem::create_directories(folder, problem);
  if (problem)
    fail(error_category::io, "negood.io.6", folder.string(), "cannot create the folder: " + problem.message());
  for (const auto& m : r.methods)
    for (const auto& run : m.runs)
      if (run.detector) save(*run.detector, folder / (m.name + ".safetensors"));
  write_file(out / "results.json", results_json(r));
  write_file(out / "report.html", report_html(r));
}

}  // namespace negood::demo
