#include "demo_findings.hpp"

#include "demo.hpp"
#include "demo_study.hpp"
#include "demo_tuning.hpp"

#include <negood/io/number.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <optional>

namespace negood::demo {
namespace {

std::string per_cent(double share) { return format_fixed(100 * share, 1); }

/// "18.0 ± 1.2 %", or "97.8 %" where nothing varied.
std::string with_unit(const spread& s) { return percent(s) + " %"; }

double average(std::span<const double> v) {
  return std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size());
}

template <class Pick>
std::vector<double> pick_values(const method_result& m, std::size_t set, Pick pick) {
  std::vector<double> out;
  for (const auto& run : m.runs) {
    if (set >= run.metrics.size() || !run.metrics[set].values) return {};
    out.push_back(pick(*run.metrics[set].values));
  }
  return out;
}

template <class Pick>
std::vector<double> pick_group(const demo_result& r, const method_result& m, set_group group, Pick pick) {
  std::vector<double> sum;
  double sets = 0;
  for (std::size_t k = 1; k < r.sets.size(); ++k) {
    if (r.sets[k].near != (group == set_group::near)) continue;
    const auto one = pick_values(m, k - 1, pick);
    if (one.empty()) return {};
    sum.resize(one.size(), 0.0);
    for (std::size_t i = 0; i < one.size(); ++i) sum[i] += one[i];
    ++sets;
  }
  for (auto& v : sum) v /= sets;
  return sum;
}

double auroc_in(const metric_values& v) { return v.auroc; }
double nearest_fpr(const metric_values& v) { return v.fpr.id_positive_nearest; }

/// How a comparison is worded: what it means for the first method to be ahead, behind, neither.
struct wording {
  std::string_view higher = "helps", lower = "does not help", unclear = "makes no clear difference";
};

std::string_view word(verdict v, const wording& w) {
  return v == verdict::higher ? w.higher : v == verdict::lower ? w.lower : w.unclear;
}

std::string difference_text(const comparison& c) {
  const double points = 100 * c.difference.mean;
  std::string out = (points < 0 ? "\u2212" : "+") + format_fixed(std::abs(points), 1);
  if (c.difference.sd > 0) out += " ± " + format_fixed(100 * c.difference.sd, 1);
  return out + " points";
}

std::string group_sentence(std::string_view group, const comparison& c) {
  return std::string(group) + " AUROC " + with_unit(c.a) + " against " + with_unit(c.b) + " (" + difference_text(c) +
         (c.outcome == verdict::unclear && c.a.n > 1 ? ", within one standard deviation" : "") + ")";
}

/// "NegPrompt against MCM: does not help. Far AUROC ... ; near AUROC ...."
void compare_methods(demo_result& r, std::string_view first, std::string_view second, const wording& words = {}) {
  const auto* a = find_method(r, first);
  const auto* b = find_method(r, second);
  if (a == nullptr || b == nullptr) return;
  const auto measure = [&](set_group g) {
    return compare(pick_group(r, *a, g, auroc_in), pick_group(r, *b, g, auroc_in));
  };
  const comparison far = measure(set_group::far), near = measure(set_group::near);
  if (far.a.n == 0 && near.a.n == 0) return;
  std::string text = a->title + " against " + b->title + ": ";
  if (near.a.n == 0 || far.a.n == 0 || near.outcome == far.outcome)
    text += word(far.a.n == 0 ? near.outcome : far.outcome, words);
  else
    text += std::string(word(far.outcome, words)) + " on the far sets, " + std::string(word(near.outcome, words)) +
            " on the near set";
  text += ". ";
  if (far.a.n > 0) text += group_sentence("Far", far);
  if (near.a.n > 0) text += (far.a.n > 0 ? "; " : "") + group_sentence(far.a.n > 0 ? "near" : "Near", near);
  r.findings.push_back(text + ".");
}

void report_identical_negatives(demo_result& r) {
  for (const auto& m : r.methods) {
    std::vector<double> cosines, near_one;
    for (const auto& run : m.runs)
      if (!run.trace.empty() && run.mean_cosine != 0) {
        cosines.push_back(run.mean_cosine);
        if (run.mean_cosine >= identical_cosine) near_one.push_back(run.mean_cosine);
      }
    if (cosines.empty()) continue;
    if (near_one.empty()) {
      r.findings.push_back(m.title + ": the negatives of a class stay apart. Their mean pairwise cosine is at most " +
                           format_fixed(*std::ranges::max_element(cosines), 3) + ".");
      continue;
    }
    const auto [low, high] = std::ranges::minmax(near_one);
    std::string range = format_fixed(low, 5);
    if (format_fixed(high, 5) != range) range += " to " + format_fixed(high, 5);
    r.findings.push_back(m.title + ": the negatives of a class ended nearly identical. In " +
                         std::to_string(near_one.size()) + " of " + std::to_string(cosines.size()) +
                         (cosines.size() == 1 ? " seed" : " seeds") + " their mean pairwise cosine is " +
                         format_fixed(identical_cosine, 3) + " or more (" + range +
                         "), so they act as one negative prompt.");
  }
}

/// Mean cosine between rows of different classes; `each` rows a class, class after class.
std::optional<double> cosine_across(const host_matrix<float>& rows, index_type each) {
  double sum = 0, pairs = 0;
  for (index_type i = 0; i < rows.rows(); ++i)
    for (index_type j = 0; j < i; ++j) {
      if (i / each == j / each) continue;
      for (index_type c = 0; c < rows.cols(); ++c)
        sum += static_cast<double>(rows(i, c)) * static_cast<double>(rows(j, c));
      pairs += 1;
    }
  if (pairs == 0) return std::nullopt;
  return sum / pairs;
}

/// Negatives that are the same for every class know nothing of the classes.
void report_shared_negatives(demo_result& r) {
  const auto* m = find_method(r, "negprompt");
  if (m == nullptr) return;
  for (const auto& run : m->runs) {
    if (!run.detector || run.detector->positive.rows() == 0) continue;
    const auto& d = *run.detector;
    const auto positive = cosine_across(d.positive, 1);
    const auto negative = cosine_across(d.negative, std::max<index_type>(1, d.negative.rows() / d.positive.rows()));
    if (!positive || !negative || *negative < identical_cosine) continue;
    r.findings.push_back(m->title + ": the negatives of different classes are nearly one prompt. In seed " +
                         std::to_string(run.seed) + " the mean cosine between negatives of different classes is " +
                         format_fixed(*negative, 5) + ", between positives " + format_fixed(*positive, 3) + ".");
  }
}

/// Whether OOD images are nearer to the negatives than ID images are, which is what negatives are for.
void report_similarities(demo_result& r) {
  std::optional<double> id;
  for (const auto& s : r.similarities)
    if (s.set == r.sets.front().name && s.prompt == "negative" && !s.cosines.empty()) id = average(s.cosines);
  if (!id) return;
  std::string values;
  std::size_t sets = 0, wrong = 0;
  for (const auto& s : r.similarities) {
    if (s.set == r.sets.front().name || s.prompt != "negative" || s.cosines.empty()) continue;
    ++sets;
    const double mean = average(s.cosines);
    if (mean < *id) ++wrong;
    values += (values.empty() ? "" : ", ") + s.set + " " + format_fixed(mean, 3);
  }
  if (sets == 0) return;
  const std::string count = std::to_string(sets) + (sets == 1 ? " OOD set" : " OOD sets");
  r.findings.push_back(
      (wrong == 0 ? "Similarity to NegPrompt's negatives: images of all " + count + " are nearer than ID images"
                  : "Similarity to NegPrompt's negatives: ID images are nearer than the images of " +
                        std::to_string(wrong) + " of " + count) +
      ". Mean cosine to the nearest negative prompt, first seed: ID " + format_fixed(*id, 3) + ", " + values + ".");
}

/// "MCM: below 50 % on ... ": a score that ranks OOD above ID.
void report_below_half(demo_result& r) {
  for (const auto& m : r.methods) {
    std::string where;
    std::size_t low = 0, measured = 0;
    for (std::size_t k = 1; k < r.sets.size(); ++k) {
      const auto s = summarise(pick_values(m, k - 1, auroc_in));
      if (s.n == 0) continue;
      ++measured;
      if (!(s.mean < 0.5)) continue;
      ++low;
      where += (where.empty() ? "" : ", ") + r.sets[k].name + " (" + with_unit(s) + ")";
    }
    if (low > 0)
      r.findings.push_back(m.title + ": AUROC below 50 % on " + std::to_string(low) + " of " +
                           std::to_string(measured) + (measured == 1 ? " OOD set" : " OOD sets") +
                           ". It ranks OOD images above ID images more often than not on " + where + ".");
  }
}

void report_accuracy(demo_result& r) {
  const auto* learned = find_method(r, "coop");
  const auto* plain = find_method(r, "mcm");
  if (learned == nullptr || plain == nullptr || learned->runs.empty() || plain->runs.empty()) return;
  const auto c = compare(values_of(*learned, &method_run::id_accuracy), values_of(*plain, &method_run::id_accuracy));
  const wording words{"helps", "does not help", "makes no clear difference"};
  r.findings.push_back("Learned positive context, ID accuracy: " + std::string(word(c.outcome, words)) + ". " +
                       with_unit(c.a) + " against " + with_unit(c.b) + " with the plain prompt (" + difference_text(c) +
                       ").");
}

void report_recall(demo_result& r) {
  double low = 2, high = -1;
  for (const auto& m : r.methods) {
    if (m.name == "interneg-stream" || m.name == "interneg-guarded" || m.name == "adaneg" || m.name == "clipscope")
      continue;  // said on their own
    for (const auto& run : m.runs) {
      low = std::min(low, run.id_recall);
      high = std::max(high, run.id_recall);
    }
  }
  if (high < low) return;
  r.findings.push_back("Thresholds: set on held-back images so that 95 % of them are accepted. They accept " +
                       per_cent(low) + " to " + per_cent(high) +
                       " % of the ID test images over all methods without a memory and all seeds.");
}

/// A memory lowers the scores of known images too: what the threshold of the detector without memory is then worth.
void report_moved_threshold(demo_result& r) {
  const auto* fixed = find_method(r, "interneg");
  for (const char* name : {"interneg-stream", "interneg-guarded"}) {
    const auto* m = find_method(r, name);
    if (fixed == nullptr || m == nullptr) continue;
    const auto before = summarise(values_of(*fixed, &method_run::id_recall)),
               after = summarise(values_of(*m, &method_run::id_recall));
    r.findings.push_back(m->title + ": the threshold of the detector without memory " +
                         (after.mean < before.mean - 0.05 ? "does not hold" : "holds") + ". It accepts " +
                         with_unit(after) + " of the ID test images over the streams, " + with_unit(before) +
                         " without memory.");
  }
}

/// The method with the highest mean AUROC over the far sets.
const method_result* best_far(const demo_result& r) {
  const method_result* best = nullptr;
  double value = -1;
  for (const auto& m : r.methods)
    if (const auto s = summarise(pick_group(r, m, set_group::far, auroc_in)); s.n > 0 && s.mean > value) {
      best = &m;
      value = s.mean;
    }
  return best;
}

}  // namespace

spread summarise(std::span<const double> values) {
  spread s;
  s.n = static_cast<index_type>(values.size());
  if (values.empty()) return s;
  s.mean = average(values);
  if (std::ranges::all_of(values, [&](double v) { return v == values[0]; })) {
    s.mean = values[0];  // a sum divided again would leave a spread of one rounding
    return s;
  }
  double squares = 0;
  for (const double v : values) squares += (v - s.mean) * (v - s.mean);
  s.sd = std::sqrt(squares / static_cast<double>(values.size() - 1));
  return s;
}

std::string percent(const spread& s) {
  if (s.n == 0) return "n/a";
  return per_cent(s.mean) + (s.sd > 0 ? " ± " + per_cent(s.sd) : "");
}

const method_result* find_method(const demo_result& r, std::string_view name) {
  const auto it = std::ranges::find_if(r.methods, [&](const method_result& m) { return m.name == name; });
  return it == r.methods.end() ? nullptr : &*it;
}

std::vector<double> values_of(const method_result& m, std::size_t set, double metric_values::*member) {
  return pick_values(m, set, [member](const metric_values& v) { return v.*member; });
}
std::vector<double> values_of(const demo_result& r, const method_result& m, set_group group,
                              double metric_values::*member) {
  return pick_group(r, m, group, [member](const metric_values& v) { return v.*member; });
}
std::vector<double> values_of(const method_result& m, double method_run::*member) {
  std::vector<double> out;
  for (const auto& run : m.runs) out.push_back(run.*member);
  return out;
}
std::vector<double> fpr_of(const method_result& m, std::size_t set) { return pick_values(m, set, nearest_fpr); }
std::vector<double> fpr_of(const demo_result& r, const method_result& m, set_group group) {
  return pick_group(r, m, group, nearest_fpr);
}

comparison compare(std::span<const double> a, std::span<const double> b) {
  comparison c{summarise(a), summarise(b), {}, verdict::unclear};
  if (a.empty() || b.empty()) return c;
  std::vector<double> d;
  const std::size_t n = std::max(a.size(), b.size());
  for (std::size_t i = 0; i < n; ++i)  // a method without seeds stands against every seed of the other
    d.push_back((a.size() == n ? a[i] : c.a.mean) - (b.size() == n ? b[i] : c.b.mean));
  c.difference = summarise(d);
  const double size = std::abs(c.difference.mean);
  constexpr double shown = 0.0005;  // smaller differences vanish in a table of per cents with one digit
  if (size >= shown && size > c.difference.sd) c.outcome = c.difference.mean > 0 ? verdict::higher : verdict::lower;
  return c;
}

std::string headline(const demo_result& r) {
  const auto* m = find_method(r, "negprompt");
  const auto* best = best_far(r);
  if (m == nullptr || best == nullptr) return {};
  const auto far = pick_group(r, *m, set_group::far, auroc_in), near = pick_group(r, *m, set_group::near, auroc_in);
  if (far.empty()) return {};
  const auto* base = find_method(r, "coop");
  std::string text = "On this model and these images NegPrompt ";
  if (base != nullptr) {
    const auto c = compare(far, pick_group(r, *base, set_group::far, auroc_in));
    text += std::string(c.outcome == verdict::higher  ? "helps"
                        : c.outcome == verdict::lower ? "does not help"
                                                      : "makes no clear difference") +
            ": its AUROC, averaged over the far-OOD sets, is " + with_unit(c.a) + ", against " + with_unit(c.b) +
            " for the same positives without its negatives (CoOp + MCM)";
  } else {
    text += "reaches a mean far-OOD AUROC of " + with_unit(summarise(far));
  }
  if (!near.empty()) {
    text += "; on the near set it is " + with_unit(summarise(near));
    if (base != nullptr) text += " against " + with_unit(summarise(pick_group(r, *base, set_group::near, auroc_in)));
  }
  text += ". ";
  if (best == m)
    text += "No other method of this run is better on the far sets.";
  else
    text += "The best method of this run on the far sets is " + best->title + " with " +
            with_unit(summarise(pick_group(r, *best, set_group::far, auroc_in))) + ".";
  return text;
}

std::vector<std::string> collected_warnings(const demo_result& r) {
  std::vector<std::string> out;
  for (const auto& m : r.methods)
    for (const auto& run : m.runs)
      for (const auto& w : run.warnings) out.push_back(m.title + ", seed " + std::to_string(run.seed) + ": " + w);
  return out;
}

void fill_findings(demo_result& r) {
  r.findings.clear();
  compare_methods(r, "negprompt", "coop");
  compare_methods(r, "negprompt", "mcm");
  compare_methods(r, "negprompt", "maxcosine");
  compare_methods(r, "negprompt", "energy");
  compare_methods(r, "negprompt-released", "coop");
  compare_methods(r, "negprompt-released", "negprompt", {"is better", "is worse", "makes no clear difference"});
  compare_methods(r, "negprompt-open", "negprompt", {"is better", "is worse", "makes no clear difference"});
  compare_methods(r, "coop", "mcm");
  compare_methods(r, "neglabel", "energy");
  compare_methods(r, "krnft", "neglabel-one");
  compare_methods(r, "nft", "neglabel-one");
  compare_methods(r, "coft", "neglabel-one");
  compare_methods(r, "krnft-open", "krnft", {"is better", "is worse", "makes no clear difference"});
  add_tuning_findings(r);
  compare_methods(r, "interneg", "neglabel");
  compare_methods(r, "interneg-stream", "interneg");
  compare_methods(r, "interneg-guarded", "interneg");
  compare_methods(r, "adaneg", "neglabel");
  compare_methods(r, "clipscope", "neglabel");
  report_moved_threshold(r);
  add_study_findings(r);
  report_accuracy(r);
  report_identical_negatives(r);
  report_shared_negatives(r);
  if (!r.sets.empty()) report_similarities(r);
  report_below_half(r);
  report_recall(r);
}

}  // namespace negood::demo
