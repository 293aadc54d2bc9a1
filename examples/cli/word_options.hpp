/// \file word_options.hpp  What `fit` is told of negative words: where they come from, how they are read and chosen.
#pragma once

#include <negood/config.hpp>

#include <optional>
#include <string>
#include <vector>

namespace negood::cli {

struct word_options {
  std::string negatives_file, negative_features, mine;  ///< one of them
  std::string cache;                                    ///< folder for features of words; empty: none
  std::vector<std::string> exclude_files;
  bool exact_names = false;

  std::vector<std::string> templates;            ///< of words; empty: those of the classes
  std::vector<std::string> adjective_templates;  ///< of words tagged "a"; empty: `templates`
  std::string mining_template = "the {}";        ///< clipscope: of the words while they are chosen
  std::string near_template = "a photo of {}";   ///< clipscope: of those near the classes
  std::string super_categories;                  ///< csp: file of words that adjectives are joined to

  index_type count = 0;  ///< 0: `share`, or the method's own number
  double share = 0.15, percentile = 0.95, too_near = 0.95;
  index_type rank = 50;
  std::string quota = "pos";
  std::optional<index_type> groups;
};

}  // namespace negood::cli
