/// \file fit_negatives.hpp  Negative words of each method: as given, or chosen from a list.
#pragma once

#include "fit_words.hpp"

namespace negood::cli {

/// What a method's negatives are, and how they were chosen.
struct negative_texts {
  texts words;
  host_matrix<float> proxies;        ///< interneg: image features of the classes
  ordered_json selection = nullptr;  ///< rule and its numbers; null where nothing was chosen
  ordered_json templates = nullptr;  ///< of the words; null where features were given
};

/// Negatives of neglabel, csp, eoe, clipscope and interneg.
template <Backend B>
negative_texts negatives_of(B& ctx, text_encoder<B>& model, const fit_options& o, const texts& classes);

}  // namespace negood::cli
