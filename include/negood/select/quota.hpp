/// \file quota.hpp  How many words of each part of speech are taken from a ranking.
#pragma once

#include <negood/error.hpp>
#include <negood/metric/convention.hpp>
#include <negood/select/percentile.hpp>

#include <map>
#include <span>
#include <string>
#include <vector>

namespace negood {

struct quota_options {
  index_type count = 0;  ///< words in all; if 0, `fraction` decides. More than there are: all of them
  double fraction = 0;   ///< share of each part of speech, floor(fraction * its words)
};

/// The first words of each part of speech in the order of a ranking, tag after tag in alphabetical order.
///
/// With a count, a tag of n of the N words has floor(count n / N) places and the last tag what is left; with a fraction
/// f, floor(f n). The ranking may be of all words together: what comes first within a tag does not depend on the
/// others. `tags` holds one for every row, or none, for one ranking.
/// \throws error negood.select.1 for a row without a tag, .3 for neither a count nor a fraction in (0, 1]
inline std::vector<selected_word> first_of_each_tag(std::span<const selected_word> ranking,
                                                    std::span<const std::string> tags, const quota_options& options) {
  constexpr std::string_view where = "first_of_each_tag";
  if (options.count < 0 || (options.count == 0 && !(options.fraction > 0 && options.fraction <= 1)))
    fail(error_category::usage, "negood.select.3", where, "neither a count nor a fraction in (0, 1] is given",
         "set .count or .fraction");
  std::map<std::string_view, std::vector<selected_word>> of_tag;
  for (const auto& w : ranking) {
    if (!tags.empty() && (w.index < 0 || w.index >= static_cast<index_type>(tags.size())))
      fail(error_category::data, "negood.select.1", where,
           std::to_string(tags.size()) + " tags, one word is of row " + std::to_string(w.index), "one tag a row");
    of_tag[tags.empty() ? std::string_view() : std::string_view(tags[static_cast<std::size_t>(w.index)])].push_back(w);
  }
  std::vector<selected_word> out;
  const auto total = static_cast<index_type>(ranking.size()), wanted = std::min(options.count, total);
  index_type left = wanted, tags_left = static_cast<index_type>(of_tag.size());
  for (const auto& [tag, words] : of_tag) {
    const auto n = static_cast<index_type>(words.size());
    index_type places = detail::largest_count(n, options.fraction);
    if (options.count > 0) {
      places = --tags_left == 0 ? left : wanted * n / total;
      left -= places;
    }
    out.insert(out.end(), words.begin(), words.begin() + places);
  }
  return out;
}

}  // namespace negood
