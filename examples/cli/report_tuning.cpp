// The report's section on KR-NFT.
#include "demo_findings.hpp"
#include "demo_tuning.hpp"
#include "report_svg.hpp"

#include <negood/io/escape.hpp>
#include <negood/io/number.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <functional>

namespace negood::demo {
namespace tuning_views {
namespace {

using number = std::function<double(const tuning_outcome&)>;

/// One number of one setting under a protocol, seed by seed; `set` empty: the mean of near and far.
std::vector<double> values(const demo_result& r, std::string_view study, std::string_view setting,
                           std::string_view protocol, std::string_view set, const number& f) {
  std::vector<double> out;
  for (const auto seed : r.seeds) {
    double sum = 0;
    int n = 0;
    for (const auto& o : r.tuning)
      if (o.seed == seed && o.study == study && o.setting == setting && o.protocol == protocol &&
          (set.empty() || o.set == set) && std::isfinite(f(o))) {
        sum += f(o);
        ++n;
      }
    if (n > 0) out.push_back(sum / n);
  }
  return out;
}

/// Different values of a member in a part of the study, in the order they first occur.
std::vector<std::string> names(const demo_result& r, std::string_view study, std::string tuning_outcome::*member) {
  std::vector<std::string> out;
  for (const auto& o : r.tuning)
    if (o.study == study && std::ranges::count(out, o.*member) == 0) out.push_back(o.*member);
  return out;
}

const number auroc = [](const tuning_outcome& o) { return o.auroc; };
const number fpr_id = [](const tuning_outcome& o) { return o.fpr_id_positive; };
const number fpr_ood = [](const tuning_outcome& o) { return o.fpr_ood_positive; };
const number right = [](const tuning_outcome& o) { return o.id_accuracy; };

struct column {
  std::string title;
  int better;
  std::function<std::vector<double>(const std::string& setting)> values;
};

std::string table_of(const std::vector<std::string>& rows, std::string_view caption, std::string_view rows_title,
                     const std::vector<column>& columns, std::string_view note) {
  std::string out = "<div class=\"tw\"><table><caption>" + escape_html(caption) +
                    "</caption><thead><tr><th scope=\"col\">" + escape_html(rows_title) + "</th>";
  for (const auto& c : columns) out += "<th scope=\"col\">" + escape_html(c.title) + "</th>";
  out += "</tr></thead><tbody>\n";
  const auto shown = [](double v) { return format_fixed(100 * v, 1); };
  for (const auto& row : rows) {
    out += "<tr><th scope=\"row\">" + escape_html(row) + "</th>";
    for (const auto& c : columns) {
      const auto value = summarise(c.values(row));
      bool best = c.better != 0 && value.n > 0;
      for (const auto& other : rows)
        if (const auto v = summarise(c.values(other)); best && v.n > 0)
          best = c.better * v.mean <= c.better * value.mean || shown(v.mean) == shown(value.mean);
      const auto text = value.n == 0 ? std::string("\u2013") : percent(value);
      out += best ? "<td><b>" + text + "</b></td>" : "<td>" + text + "</td>";
    }
    out += "</tr>\n";
  }
  return out + "</tbody></table></div>\n<p class=\"nt\">" + escape_html(note) + "</p>\n";
}

/// The harmonic mean of two numbers, seed by seed.
std::vector<double> harmonic(const std::vector<double>& a, const std::vector<double>& b) {
  std::vector<double> out;
  for (std::size_t i = 0; i < std::min(a.size(), b.size()); ++i)
    out.push_back(a[i] + b[i] > 0 ? 2 * a[i] * b[i] / (a[i] + b[i]) : 0);
  return out;
}

constexpr const char* base = "trained classes";
constexpr const char* fresh = "unseen classes";

std::string parts_table(const demo_result& r) {
  std::vector<column> columns;
  for (const auto& p : names(r, "parts", &tuning_outcome::protocol))
    for (const std::string set : {"near", "far"})
      columns.push_back(
          {p + ": " + set, 1, [&r, p, set](const std::string& row) { return values(r, "parts", row, p, set, auroc); }});
  return table_of(
      names(r, "parts", &tuning_outcome::setting), "What each part does: AUROC, per cent", "Map", columns,
      "All rows but the last are learned without L_kr (lambda_2 = 0). Trained classes: the five ID classes. Unseen "
      "classes: the same maps bound to the names of the other five classes with negatives mined anew; these are then "
      "the known images, and the images of the five trained classes are the near set. Unseen style: ID and near images "
      "as photographic negatives, or with a quarter of their contrast; far sets as they are. At most 1,000 images of a "
      "set. Mean \u00b1 sample standard deviation over the seeds.");
}

std::string base_and_new_table(const demo_result& r) {
  std::vector<column> columns;
  const auto add = [&](const char* title, const number& f) {
    for (const auto* p : {base, fresh})
      columns.push_back({std::string(p == base ? "Base " : "New ") + title, -1,
                         [&r, p, f](const std::string& row) { return values(r, "parts", row, p, "", f); }});
    columns.push_back({std::string("H ") + title, -1, [&r, f](const std::string& row) {
                         return harmonic(values(r, "parts", row, base, "", f), values(r, "parts", row, fresh, "", f));
                       }});
  };
  add("FPR95, ID positive", fpr_id);
  add("FPR95, OOD positive", fpr_ood);
  for (const auto* p : {base, fresh})
    columns.push_back({std::string(p == base ? "Base " : "New ") + "accuracy", 1,
                       [&r, p](const std::string& row) { return values(r, "parts", row, p, "near", right); }});
  return table_of(names(r, "parts", &tuning_outcome::setting),
                  "Base and New: FPR95 (lower is better) and accuracy, per cent", "Map", columns,
                  "Base: trained classes; New: unseen classes; each the mean of the near set and the far sets; H: "
                  "harmonic mean of Base and New, taken in every seed. In both conventions of published tables. "
                  "Accuracy: top-1 among the names the map is bound to.");
}

std::string swatch(std::string_view css) {
  return "<svg viewBox=\"0 0 26 12\" aria-hidden=\"true\"><path class=\"ln " + std::string(css) +
         "\" d=\"M1 6H25\"/></svg>";
}
std::string panel(std::string_view title, const std::string& picture) {
  return "<div class=\"pn\"><p>" + escape_html(title) + "</p>" + picture + "</div>\n";
}

/// Where a weight stands on an axis of logarithms; 0 left of all others.
double place_of(double lambda2) { return lambda2 > 0 ? std::log10(lambda2) : -2; }

std::string sweep_plot(const demo_result& r) {
  std::vector<std::pair<std::string, double>> weights;
  for (const auto& o : r.tuning)
    if (o.study == "lambda2" && std::ranges::none_of(weights, [&](const auto& w) { return w.first == o.setting; }))
      weights.emplace_back(o.setting, o.value);
  if (weights.empty()) return {};
  std::ranges::sort(weights, {}, [](const auto& w) { return w.second; });
  std::string panels, keys = "<ul class=\"lg\">";
  for (const std::string set : {"near", "far"}) {
    std::vector<std::vector<svg::point>> lines;
    double low = 1e300, high = -1e300;
    for (const auto* p : {base, fresh}) {
      auto& line = lines.emplace_back();
      for (const auto& [name, value] : weights) {
        const auto v = summarise(values(r, "lambda2", name, p, set, auroc));
        if (v.n == 0) continue;
        line.push_back({place_of(value), v.mean});
        low = std::min(low, v.mean);
        high = std::max(high, v.mean);
      }
    }
    if (!(low <= high)) continue;
    auto y = svg::fitted(low, high, "AUROC, %", 0.01, 4);
    y.unit = 100;
    y.high = std::min(y.high, 1 + 0.04 * (1 - y.low));
    svg::chart c(440, 250, {-2.2, 3.2, "log10 of lambda_2; 0 stands at \u22122", 1, 6}, y,
                 "AUROC over lambda_2 on the " + set + " sets");
    for (std::size_t i = 0; i < lines.size(); ++i) {
      const std::string css = i == 0 ? "c0 so" : "c1";
      c.line(lines[i], css);
      for (const auto& at : lines[i]) c.mark(at, static_cast<int>(i), 4, css);
    }
    panels += panel(set == "near" ? "Near sets" : "Far sets", c.str());
  }
  keys += "<li>" + swatch("c0 so") + "trained classes</li><li>" + swatch("c1") + "unseen classes</li></ul>";
  return "<h3>The weight of L_kr</h3><figure>" + keys + "<div class=\"g2\">\n" + panels +
         "</div><figcaption>KR-NFT with lambda_2 from 0 to 1,000; 100 is the paper's value, 10 that of the released "
         "code. Means over the seeds.</figcaption></figure>\n";
}

std::string runaway_plot(const demo_result& r) {
  if (r.runaway.empty()) return {};
  std::string panels;
  const auto draw = [&](std::string_view title, std::vector<double> runaway_trace::*member) {
    double low = 1e300, high = -1e300, last = 1;
    std::vector<std::pair<std::vector<svg::point>, std::string>> lines;
    for (const auto& t : r.runaway) {
      auto& line = lines.emplace_back();
      line.second = t.lambda2 == 0 ? "c1 th" : "c0 so th";
      const std::size_t n = std::min(t.at.size(), (t.*member).size()), each = n > 64 ? 16 : 1;
      for (std::size_t first = 0; first < n; first += each) {
        const std::size_t count = std::min(each, n - first);
        double sum = 0;
        for (std::size_t i = first; i < first + count; ++i) sum += (t.*member)[i];
        const double v = sum / static_cast<double>(count), x = (t.at[first] + t.at[first + count - 1]) / 2;
        if (!std::isfinite(v)) continue;
        line.first.push_back({x, v});
        low = std::min(low, v);
        high = std::max(high, v);
        last = std::max(last, t.at[first + count - 1]);
      }
    }
    if (!(low <= high)) return;
    const auto y = svg::fitted(low, high, "", 0.01, 4);
    svg::chart c(330, 215, {0, last, "step", 1, 5}, y, title);
    for (const auto& [line, css] : lines) c.line(svg::thin(line, 0.004, {last, y.high - y.low}), css);
    panels += panel(title, c.str());
  };
  draw("L_n", &runaway_trace::outlier);
  draw("L_kr", &runaway_trace::knowledge);
  draw("largest |alpha \u2212 1|", &runaway_trace::largest_delta);
  return "<h3>L_n has no lower bound</h3><figure><ul class=\"lg\"><li>" + swatch("c1 th") + "without L_kr</li><li>" +
         swatch("c0 so th") + "with L_kr, lambda_2 = 100</li></ul><div class=\"g3\">\n" + panels +
         "</div><figcaption>Driven there: a rate of 0.01, more than three hundred times that of the other rows. One "
         "line "
         "a seed, means of sixteen steps. L_n is the mean logarithm of the share of an outlier that falls to the "
         "classes: "
         "it can fall for as long as text features can move.</figcaption></figure>\n";
}

std::string with_unit(const std::vector<double>& v) { return percent(summarise(v)) + " %"; }

std::string_view word(verdict v) {
  return v == verdict::higher ? "helps" : v == verdict::lower ? "does harm" : "makes no clear difference";
}

std::string points(const comparison& c) {
  const double p = 100 * c.difference.mean;
  return (p < 0 ? "\u2212" : "+") + format_fixed(std::abs(p), 1) +
         (c.difference.sd > 0 ? " ± " + format_fixed(100 * c.difference.sd, 1) : "") + " points";
}

/// "The partition: helps on ...": one step of the ablation against another, protocol by protocol.
void compare_steps(demo_result& r, std::string_view what, std::string_view with, std::string_view without) {
  std::string text;
  for (const auto& p : names(r, "parts", &tuning_outcome::protocol)) {
    std::string here;
    for (const auto* set : {"near", "far"}) {
      const auto c = compare(values(r, "parts", with, p, set, auroc), values(r, "parts", without, p, set, auroc));
      if (c.a.n == 0 || c.b.n == 0) continue;
      here +=
          (here.empty() ? "" : ", ") + std::string(set) + " " + std::string(word(c.outcome)) + " (" + points(c) + ")";
    }
    if (!here.empty()) text += (text.empty() ? "" : "; ") + p + ": " + here;
  }
  if (!text.empty())
    r.findings.push_back("KR-NFT, " + std::string(what) + ". Change of AUROC, seed by seed; " + text + ".");
}

std::string html(const demo_result& r) {
  if (r.tuning.empty()) return {};
  return "<p>A map of the text features is learned on crops of 16 images of each ID class and scored in one group of "
         "negatives, like the row NegLabel, one group, of the table above, on the same images and words.</p>\n" +
         parts_table(r) + base_and_new_table(r) + sweep_plot(r) + runaway_plot(r);
}

ordered_json json_of(const demo_result& r) {
  auto out = ordered_json::array();
  for (const auto& o : r.tuning)
    out.push_back({{"study", o.study},
                   {"setting", o.setting},
                   {"protocol", o.protocol},
                   {"set", o.set},
                   {"seed", o.seed},
                   {"lambda2", o.study == "parts" ? ordered_json(nullptr) : ordered_json(o.value)},
                   {"auroc", o.auroc},
                   {"fpr95", {{"id_positive_nearest", o.fpr_id_positive}, {"ood_positive_first", o.fpr_ood_positive}}},
                   {"id_accuracy", o.id_accuracy},
                   {"knowledge", o.knowledge},
                   {"outlier", o.outlier},
                   {"largest_delta", o.largest_delta}});
  return out;
}

ordered_json runaway_of(const demo_result& r) {
  auto out = ordered_json::array();
  for (const auto& t : r.runaway)
    out.push_back({{"lambda2", t.lambda2},
                   {"seed", t.seed},
                   {"step", t.at},
                   {"outlier", t.outlier},
                   {"knowledge", t.knowledge},
                   {"largest_delta", t.largest_delta}});
  return out;
}

void add_findings(demo_result& r) {
  compare_steps(r, "scale and shift against nothing learned", "scale and shift (SSF)", "nothing learned (NegLabel)");
  compare_steps(r, "two partitions against one", "and two partitions (NFT)", "scale and shift (SSF)");
  compare_steps(r, "the image's condition against none", "scale, shift and condition (CoFT)", "scale and shift (SSF)");
  compare_steps(r, "L_kr against none", "and L_kr (KR-NFT)", "condition and partitions");
  compare_steps(r, "the whole against nothing learned", "and L_kr (KR-NFT)", "nothing learned (NegLabel)");
  std::string table;
  for (const auto& row : names(r, "parts", &tuning_outcome::setting)) {
    const auto a = values(r, "parts", row, base, "", fpr_id), b = values(r, "parts", row, fresh, "", fpr_id);
    if (a.empty() || b.empty()) continue;
    table += (table.empty() ? "" : "; ") + row + ": " + with_unit(a) + ", " + with_unit(b) + ", H " +
             with_unit(harmonic(a, b));
  }
  if (!table.empty())
    r.findings.push_back("KR-NFT, Base and New. FPR95 (ID positive), Base, New, harmonic mean: " + table + ".");
  for (const auto* p : {base, fresh}) {
    std::string best;
    double value = -1;
    for (const auto& name : names(r, "lambda2", &tuning_outcome::setting))
      if (const auto v = summarise(values(r, "lambda2", name, p, "", auroc)); v.n > 0 && v.mean > value) {
        value = v.mean;
        best = name;
      }
    if (!best.empty())
      r.findings.push_back("KR-NFT, weight of L_kr on " + std::string(p) +
                           ". Of the weights tried, lambda_2 = " + best + " has the highest AUROC over near and far, " +
                           with_unit(values(r, "lambda2", best, p, "", auroc)) + "; lambda_2 = 0 has " +
                           with_unit(values(r, "lambda2", "0", p, "", auroc)) + ".");
  }
  for (const bool held : {false, true}) {
    std::vector<double> from, to, moved, kept;
    for (const auto& t : r.runaway)
      if ((t.lambda2 > 0) == held && !t.outlier.empty()) {
        from.push_back(t.outlier.front());
        to.push_back(t.outlier.back());
        moved.push_back(t.largest_delta.back());
        kept.push_back(t.knowledge.back());
      }
    if (from.empty()) continue;
    const auto plain = [](const std::vector<double>& v) {
      const double mean = summarise(v).mean;
      return std::isfinite(mean) ? format_fixed(mean, 2) : std::string("no finite number");
    };
    const auto end = values(r, "runaway", held ? "with L_kr" : "without L_kr", base, "", auroc);
    r.findings.push_back(std::string("L_n at a large rate, ") + (held ? "with" : "without") + " L_kr. It goes from " +
                         plain(from) + " to " + plain(to) + ", L_kr ends at " + plain(kept) +
                         ", the largest |alpha − 1| at " + plain(moved) + "; AUROC on the trained classes is then " +
                         with_unit(end) + ".");
  }
}

}  // namespace
}  // namespace tuning_views

std::string tuning_html(const demo_result& r) { return tuning_views::html(r); }
ordered_json tuning_json(const demo_result& r) { return tuning_views::json_of(r); }
ordered_json runaway_json(const demo_result& r) { return tuning_views::runaway_of(r); }
void add_tuning_findings(demo_result& r) { tuning_views::add_findings(r); }

}  // namespace negood::demo
