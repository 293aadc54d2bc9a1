/// \file fit_words.hpp  What every method does with names and words alike: reading, dropping class names, encoding.
#pragma once

#include "commands.hpp"

#include <negood/clip/encode_corpus.hpp>
#include <negood/io/corpus.hpp>

#include <optional>
#include <string>
#include <vector>

namespace negood::cli {

/// Text features of the classes, or of negative words, with where they came from.
struct texts {
  host_matrix<float> features;
  std::vector<std::string> names;
  std::vector<std::string> tags;  ///< part of speech of every word, or nothing
  std::string source;
};

/// The model, loaded when it is first needed, and what it makes of texts.
template <Backend B>
class text_encoder {
 public:
  text_encoder(B& ctx, const fit_options& o) : ctx_(ctx), o_(o) {}
  const clip::model<B>& get();
  bool given() const noexcept { return !o_.model.empty(); }

  /// Of class names: through `--template`.
  host_matrix<float> encode_names(const std::vector<std::string>& names);
  /// Of words, through a trie, with progress, from `--cache` where they are there.
  host_matrix<float> encode_words(const std::vector<std::string>& words, const std::vector<std::string>& patterns);
  /// The same with templates by part of speech: `--adjective-template` for words tagged "a".
  host_matrix<float> encode_tagged(const std::vector<std::string>& words, const std::vector<std::string>& tags);

 private:
  clip::template_mean mean() const {  // CSP's mean is of features as the tower gives them
    return o_.method == "csp" ? clip::template_mean::raw : clip::template_mean::unit;
  }

  B& ctx_;
  const fit_options& o_;
  std::optional<clip::model<B>> model_;
};

/// Everything beside the model and the texts that may change a bit of a feature, for keys of caches.
template <Backend B>
std::string arithmetic_of(B& ctx, const text_options& text) {
  std::string out(B::name());
  if constexpr (requires { ctx.precision(); })
    out += " " + std::string(format_precision(ctx.precision()));
  else
    out += sizeof(real_t<B>) == 8 ? " f64" : " f32";
  return out + (text.truncate ? " truncate" : "");
}

/// Words of a list or a WordNet folder, and how many were left out. Spellings of one text count once, words that name a
/// class go (F-14); what was dropped is said. \throws error negood.cli.11 where nothing is left
struct word_list {
  corpus words;
  corpus_report report;
};
word_list read_words(const fit_options& o, const std::string& source, const std::vector<std::string>& classes,
                     bool adjectives = true);

/// Names and features of the classes.
template <Backend B>
texts class_texts(text_encoder<B>& model, const fit_options& o);

/// The rows of `all` that were selected, in order.
template <class Selected>
texts rows_of(const texts& all, const std::vector<Selected>& selected) {
  texts out{host_matrix<float>(static_cast<index_type>(selected.size()), all.features.cols()), {}, {}, all.source};
  for (std::size_t i = 0; i < selected.size(); ++i) {
    const auto row = static_cast<std::size_t>(selected[i].index);
    std::ranges::copy(all.features.row(selected[i].index), out.features.row(static_cast<index_type>(i)).begin());
    if (!all.names.empty()) out.names.push_back(all.names[row]);
    if (!all.tags.empty()) out.tags.push_back(all.tags[row]);
  }
  return out;
}

}  // namespace negood::cli
