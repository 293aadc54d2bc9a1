/// \file both_ends.hpp  CLIPScope's negative words: the farthest from the classes and the nearest (Fu et al. 2024).
#pragma once

#include <negood/select/percentile.hpp>

#include <algorithm>
#include <span>
#include <string>
#include <vector>

namespace negood {

struct both_ends_options {
  index_type count = 10000;  ///< words in all: the larger half farthest, the other nearest; fewer words than that: all
  index_type rank = 50;      ///< the cosine that ranks: the 50th-largest; with fewer classes, the smallest
};

struct both_ends_selection {
  std::vector<selected_word> farthest;  ///< smallest key first
  std::vector<selected_word> nearest;   ///< largest key first; none of them is among the farthest
};

/// CLIPScope's mining. The key of a word is its 50th-largest cosine to the class texts,
///
///     key(w) = the r-th largest of <e_w, e_n>, n = 1..N;   order of both ends: key, then word, then row
///
/// Taking both ends means that negatives stand near the classes as well as far from them. Candidates `[M, D]` and words
/// as in `select_by_percentile`; nouns only in the paper. The two halves then get templates of their own.
/// \throws error as `select_by_percentile`, negood.select.3 also for a rank below 1
template <Backend B>
both_ends_selection select_both_ends(B& ctx, host_view<float> candidates, std::span<const std::string> words,
                                     host_view<float> id_text, const both_ends_options& options = {}) {
  if (options.count < 1 || options.rank < 1)
    fail(error_category::usage, "negood.select.3", "select_both_ends",
         "a count of " + std::to_string(options.count) + " at rank " + std::to_string(options.rank),
         "both are at least 1");
  // The r-th largest of N is the ascending one at index N - r = floor((N - r)/N * N).
  const double share = static_cast<double>(id_text.rows - std::min(options.rank, id_text.rows)) /
                       static_cast<double>(std::max<index_type>(id_text.rows, 1));
  auto order = select_by_percentile(
      ctx, candidates, words, id_text,
      {.count = std::max<index_type>(candidates.rows, 1), .percentile = share, .rule = percentile_rule::floor_index});
  const auto total = std::min(options.count, static_cast<index_type>(order.size())), far = total - total / 2;
  both_ends_selection out;
  out.farthest.assign(order.begin(), order.begin() + far);
  order.erase(order.begin(), order.begin() + far);
  // Descending keys; among equal ones the ranking's order, by word, stays.
  std::ranges::stable_sort(order, [](const selected_word& a, const selected_word& b) { return a.key > b.key; });
  out.nearest.assign(order.begin(), order.begin() + total / 2);
  return out;
}

}  // namespace negood
