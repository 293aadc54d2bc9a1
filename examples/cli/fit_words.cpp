#include "fit_words.hpp"

#include <negood/io/feature_cache.hpp>

#include <atomic>

namespace negood::cli {

template <Backend B>
const clip::model<B>& text_encoder<B>::get() {
  if (!model_) model_.emplace(load_model(ctx_, o_.common, o_.model));
  return *model_;
}

template <Backend B>
host_matrix<float> text_encoder<B>::encode_names(const std::vector<std::string>& names) {
  const auto patterns = o_.text.patterns();
  const std::span<const std::string> list(names), templates(patterns);
  if (mean() == clip::template_mean::raw)
    return cast<float>(
        clip::encode_corpus(ctx_, get(), list, templates, {.overflow = o_.text.encoding().overflow, .mean = mean()}));
  return cast<float>(clip::encode_texts_with_templates(ctx_, get(), list, templates, o_.text.encoding()));
}

template <Backend B>
host_matrix<float> text_encoder<B>::encode_words(const std::vector<std::string>& words,
                                                 const std::vector<std::string>& patterns) {
  const auto& m = get();
  const std::span<const std::string> list(words), templates(patterns);
  const auto compute = [&] {
    const auto total = static_cast<index_type>(words.size() * patterns.size());
    progress bar(o_.common, "words", total);
    std::atomic<index_type> done{0};
    return cast<float>(
        clip::encode_corpus(ctx_, m, list, templates,
                            {.overflow = o_.text.encoding().overflow, .mean = mean(), .on_progress = [&](index_type n) {
                               throw_if_stopped("fit");
                               bar.update(done += n);
                             }}));
  };
  if (o_.words.cache.empty()) return compute();
  cache_report report;
  auto out = cached_features(o_.words.cache,
                             {.encoder = m.fingerprint,
                              .words = list,
                              .templates = templates,
                              .arithmetic = arithmetic_of(ctx_, o_.text),
                              .template_mean = mean() == clip::template_mean::raw ? "raw" : "unit",
                              .width = clip::require_text(m, "--cache").config.embedding},
                             compute, &report);
  if (report.hit) note(o_.common, std::to_string(words.size()) + " features from " + o_.words.cache);
  if (!report.refused.empty()) note(o_.common, "computed anew: " + report.refused);
  if (!report.not_written.empty()) note(o_.common, "features not kept: " + report.not_written);
  return out;
}

template <Backend B>
host_matrix<float> text_encoder<B>::encode_tagged(const std::vector<std::string>& words,
                                                  const std::vector<std::string>& tags) {
  const auto patterns = o_.words.templates.empty() ? o_.text.patterns() : o_.words.templates;
  const auto& of_adjectives = o_.words.adjective_templates;
  const auto adjectives = std::ranges::count(tags, "a");
  if (of_adjectives.empty() || adjectives == 0) return encode_words(words, patterns);
  if (adjectives == static_cast<std::ptrdiff_t>(words.size())) return encode_words(words, of_adjectives);
  host_matrix<float> out;
  for (const bool adjective : {false, true}) {
    std::vector<std::string> part;
    std::vector<index_type> rows;
    for (std::size_t i = 0; i < words.size(); ++i)
      if ((tags[i] == "a") == adjective) {
        part.push_back(words[i]);
        rows.push_back(static_cast<index_type>(i));
      }
    const auto features = encode_words(part, adjective ? of_adjectives : patterns);
    if (!adjective) out = host_matrix<float>(static_cast<index_type>(words.size()), features.cols());
    for (std::size_t k = 0; k < rows.size(); ++k)
      std::ranges::copy(features.row(static_cast<index_type>(k)), out.row(rows[k]).begin());
  }
  return out;
}

word_list read_words(const fit_options& o, const std::string& source, const std::vector<std::string>& classes,
                     bool adjectives) {
  word_list out;
  const corpus_options wanted{.adjectives = adjectives, .exclude_files = o.words.exclude_files};
  const bool wordnet = std::filesystem::is_directory(source);
  out.words = wordnet ? read_wordnet(source, wanted, &out.report) : read_word_list(source, wanted, &out.report);
  remove_class_names(out.words, classes, o.words.exact_names, &out.report);
  // A word of WordNet stands in several synsets as a rule; in a list a repetition is worth a word.
  const auto& r = out.report;
  const index_type repeated = wordnet ? 0 : r.repeated;
  if (r.class_names + repeated > 0) {
    std::string which;
    for (std::size_t i = 0; i < std::min<std::size_t>(10, r.dropped_class_names.size()); ++i)
      which += (i == 0 ? " (" : ", ") + r.dropped_class_names[i];
    if (!which.empty()) which += r.class_names > 10 ? ", ...)" : ")";
    note(o.common, source + ": " + std::to_string(r.class_names + repeated) +
                       " words dropped: " + std::to_string(r.class_names) + " name a class" + which + ", " +
                       std::to_string(repeated) + " stand twice");
  }
  if (out.words.words.empty())
    fail(error_category::data, "negood.cli.11", source, "no negative word is left", "use mcm, which needs none");
  return out;
}

template <Backend B>
texts class_texts(text_encoder<B>& model, const fit_options& o) {
  texts out;
  out.names = read_class_names(o.common, o.names, o.text).names;
  if (o.text_features.empty()) {
    out.features = model.encode_names(out.names);
    out.source = o.names;
    return out;
  }
  out.source = o.text_features;
  out.features = read_unit_features<float>(o.common, o.text_features, o.rows).rows;
  if (out.features.rows() != static_cast<index_type>(out.names.size()))
    fail(error_category::data, "negood.labels.1", o.names,
         std::to_string(out.names.size()) + " names for " + std::to_string(out.features.rows()) + " rows of " +
             o.text_features,
         "one name a row");
  return out;
}

#define NEGOOD_CLI_FIT_WORDS(B)   \
  template class text_encoder<B>; \
  template texts class_texts(text_encoder<B>&, const fit_options&);
NEGOOD_CLI_EACH_BACKEND(NEGOOD_CLI_FIT_WORDS)
#undef NEGOOD_CLI_FIT_WORDS

}  // namespace negood::cli
