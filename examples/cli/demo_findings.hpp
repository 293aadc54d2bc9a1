// What the demonstration's numbers say: means over seeds, comparisons of two methods, sentences.
#pragma once

#include "demo_result.hpp"

#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace negood::demo {

/// Mean and sample standard deviation over seeds; `n` = 0 where there are no values.
struct spread {
  double mean = 0, sd = 0;
  index_type n = 0;
};
spread summarise(std::span<const double> values);

/// "97.2 ± 0.4": per cent with one digit; without ± where nothing varied, "n/a" without values.
std::string percent(const spread& s);

/// The method of that name, or nothing.
const method_result* find_method(const demo_result& r, std::string_view name);

enum class set_group { near, far };

/// `member` of OOD set `set` (0 = the first OOD set), one value a seed; empty where a run has none.
std::vector<double> values_of(const method_result& m, std::size_t set, double metric_values::*member);
/// The same, plain mean over the near or the far sets.
std::vector<double> values_of(const demo_result& r, const method_result& m, set_group group,
                              double metric_values::*member);
/// A number of every run, such as `&method_run::id_accuracy`.
std::vector<double> values_of(const method_result& m, double method_run::*member);
/// FPR at 95 % recall in the default convention (id_positive_nearest) of one OOD set, one value a seed.
std::vector<double> fpr_of(const method_result& m, std::size_t set);
std::vector<double> fpr_of(const demo_result& r, const method_result& m, set_group group);

enum class verdict { higher, lower, unclear };

/// Two methods on one number, seed by seed: the difference is clear where its mean is larger than its standard
/// deviation over the seeds and at least half a tenth of a per cent.
struct comparison {
  spread a, b, difference;
  verdict outcome = verdict::unclear;
};
comparison compare(std::span<const double> a, std::span<const double> b);

/// Negatives whose mean pairwise cosine reaches this act as one prompt.
inline constexpr double identical_cosine = 0.995;

/// One sentence or two: the main result. Empty where NegPrompt was not run.
std::string headline(const demo_result& r);

/// Warnings of all runs, each once, with the method and the seeds it came up in.
std::vector<std::string> collected_warnings(const demo_result& r);

}  // namespace negood::demo
