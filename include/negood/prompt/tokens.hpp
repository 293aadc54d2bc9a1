/// \file tokens.hpp  Class names as the token suffixes a prompt ends with.
#pragma once

#include <negood/clip/tokenizer.hpp>

#include <algorithm>
#include <string>
#include <vector>

namespace negood {

/// Tokens of `name + suffix` and the end token, for every name. Underscores become spaces, as everywhere in the CLIP
/// literature. Throws negood.prompt.1 if `1 + context + suffix` tokens pass the model's context length: a prompt is
/// never cut silently.
inline std::vector<std::vector<index_type>> name_suffixes(const bpe_tokenizer& tokenizer,
                                                          const std::vector<std::string>& names,
                                                          const std::string& suffix, index_type context,
                                                          index_type context_length) {
  std::vector<std::vector<index_type>> out;
  for (std::size_t k = 0; k < names.size(); ++k) {
    auto name = names[k];
    std::ranges::replace(name, '_', ' ');
    const auto ids = tokenizer.encode(name + suffix);
    std::vector<index_type> tokens(ids.begin(), ids.end());
    tokens.push_back(tokenizer.eot());
    const auto total = 1 + context + static_cast<index_type>(tokens.size());
    if (total > context_length)
      fail(error_category::data, "negood.prompt.1", "name_suffixes",
           "name " + std::to_string(k) + " (\"" + names[k] + "\") makes a prompt of " + std::to_string(total) +
               " tokens, the model takes " + std::to_string(context_length),
           "shorten the name or the context");
    out.push_back(std::move(tokens));
  }
  return out;
}

}  // namespace negood
