/// \file csp.hpp  CSP's negative words: NegLabel's ranking without near copies of a class, and adjectives joined to
/// nouns (Chen, Gao, Xu, "Conjugated Semantic Pool Improves OOD Detection with Pre-trained Vision-Language Models",
/// NeurIPS 2024).
#pragma once

#include <negood/select/percentile.hpp>
#include <negood/select/quota.hpp>
#include <negood/train/random.hpp>

#include <algorithm>
#include <array>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace negood {

/// Fourteen words that name wide categories. The paper's first four are object, scene, place and creature; the other
/// ten are a choice of this library. Give your own where it matters.
inline constexpr std::array<std::string_view, 14> csp_super_categories{
    "object",   "scene", "place",   "creature", "plant",   "building", "vehicle",
    "material", "tool",  "texture", "garment",  "pattern", "dish",     "person"};

/// "striped" -> "striped creature": an adjective with the category drawn for (seed, row).
/// \throws error negood.select.3 without categories
inline std::string join_super_category(std::string_view adjective, std::uint64_t seed, index_type row,
                                       std::span<const std::string_view> categories = csp_super_categories) {
  if (categories.empty())
    fail(error_category::usage, "negood.select.3", "join_super_category", "there are no super-categories");
  random_sequence draw(seed, random_purpose::super_category, static_cast<std::uint64_t>(row));
  const auto k = static_cast<std::size_t>(draw.next_below(categories.size()));
  return std::string(adjective) + " " + std::string(categories[k]);
}

struct csp_options {
  double percentile = 0.95;
  double too_near = 0.95;  ///< a word with a larger cosine to some class goes to the end of the ranking
  index_type count = 0;    ///< words to select; if 0, `fraction` of each part of speech
  double fraction = 0.15;
  std::span<const std::string> tags{};  ///< part of speech of every word; empty: one ranking
};

struct csp_selection {
  std::vector<selected_word> words;  ///< key = percentile of the cosines; ascending, tag after tag, near words last
  index_type too_near = 0;           ///< candidates that went to the end
};

/// CSP's selection among candidates `[M, D]`, unit rows with their M words:
///
///     key(w) = percentile_0.95 { <e_w, e_n> : n = 1..N }, interpolated;   order: (max_n <e_w, e_n> > 0.95, key, word)
///
/// and of each part of speech the first 15 %. Sums in double, words break ties. Twice the cost of
/// `select_by_percentile`: once for the percentile, once for the maximum. \throws error as that
template <Backend B>
csp_selection select_by_csp(B& ctx, host_view<float> candidates, std::span<const std::string> words,
                            host_view<float> id_text, const csp_options& options = {}) {
  const auto ranking = [&](double percentile) {
    return select_by_percentile(
        ctx, candidates, words, id_text,
        {.count = candidates.rows, .percentile = percentile, .rule = percentile_rule::interpolated});
  };
  csp_selection out;
  std::vector<char> near(static_cast<std::size_t>(candidates.rows));
  for (const auto& w : ranking(1.0)) {
    near[static_cast<std::size_t>(w.index)] = w.key > options.too_near;
    out.too_near += w.key > options.too_near;
  }
  auto order = ranking(options.percentile);
  std::stable_partition(order.begin(), order.end(),
                        [&](const selected_word& w) { return !near[static_cast<std::size_t>(w.index)]; });
  out.words = first_of_each_tag(order, options.tags, {.count = options.count, .fraction = options.fraction});
  return out;
}

}  // namespace negood
