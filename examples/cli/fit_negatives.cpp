#include "fit_negatives.hpp"

#include "training_data.hpp"

#include <negood/select/both_ends.hpp>
#include <negood/select/csp.hpp>
#include <negood/select/deviation_degree.hpp>

namespace negood::cli {

namespace {

/// CSP encodes adjectives joined to a category each; nouns and lists without tags stay as they are.
std::vector<std::string> texts_of(const fit_options& o, const corpus& c) {
  if (o.method != "csp") return c.words;
  std::vector<std::string> own;
  if (!o.words.super_categories.empty()) own = read_names(o.words.super_categories);
  std::vector<std::string_view> categories(own.begin(), own.end());
  if (own.empty()) categories.assign(csp_super_categories.begin(), csp_super_categories.end());
  auto out = c.words;
  for (std::size_t i = 0; i < out.size(); ++i)
    if (c.tags[i] == "a") out[i] = join_super_category(out[i], o.common.seed, static_cast<index_type>(i), categories);
  return out;
}

/// One ranking for each part of speech, where all words have one and --quota wants it.
std::span<const std::string> quota_tags(const fit_options& o, const texts& all) {
  const bool by_tag = choose<bool>("--quota", o.words.quota, {{"pos", true}, {"none", false}});
  if (!by_tag || std::ranges::count(all.tags, "") > 0) return {};
  return all.tags;
}

ordered_json templates_of(const fit_options& o) {
  const auto& w = o.words;
  ordered_json out{{"words", w.templates.empty() ? o.text.patterns() : w.templates}};
  if (!w.adjective_templates.empty()) out["adjectives"] = w.adjective_templates;
  return out;
}

ordered_json selection_of(const fit_options& o, const word_list& read, const char* rule) {
  return {{"rule", rule},
          {"candidates", read.words.words.size()},
          {"excluded_files", o.words.exclude_files},
          {"class_names_dropped", read.report.class_names}};
}

void say_selected(const fit_options& o, std::size_t selected, std::size_t of, const std::string& more = {}) {
  if (selected == 0)
    fail(error_category::data, "negood.cli.11", o.words.mine, "no negative word is selected",
         "raise --mine-share, or use mcm, which needs none");
  note(o.common,
       o.words.mine + ": " + std::to_string(selected) + " of " + std::to_string(of) + " words selected" + more);
}

/// NegLabel's and EOE's words: smallest percentile of the cosines to the classes.
template <Backend B>
texts by_percentile(B& ctx, const fit_options& o, const texts& all, const texts& classes, ordered_json& selection) {
  const auto tags = quota_tags(o, all);
  selection["percentile"] = o.words.percentile;
  selection["quota"] = tags.empty() ? "none" : "pos";
  const quota_options places{.count = o.words.count, .fraction = o.words.count > 0 ? 0 : o.words.share};
  const auto ranking =
      select_by_percentile(ctx, all.features.view(), std::span<const std::string>(all.names), classes.features.view(),
                           {.count = all.features.rows(), .percentile = o.words.percentile});
  return rows_of(all, first_of_each_tag(ranking, tags, places));
}

template <Backend B>
texts by_csp(B& ctx, const fit_options& o, const texts& all, const texts& classes, ordered_json& selection) {
  const auto tags = quota_tags(o, all);
  const auto s =
      select_by_csp(ctx, all.features.view(), std::span<const std::string>(all.names), classes.features.view(),
                    {.percentile = o.words.percentile,
                     .too_near = o.words.too_near,
                     .count = o.words.count,
                     .fraction = o.words.share,
                     .tags = tags});
  selection["percentile"] = o.words.percentile;
  selection["too_near"] = o.words.too_near;
  selection["words_too_near"] = s.too_near;
  selection["quota"] = tags.empty() ? "none" : "pos";
  return rows_of(all, s.words);
}

/// CLIPScope's words: both ends of the ranking, each encoded anew with a template of its own.
template <Backend B>
texts by_both_ends(B& ctx, text_encoder<B>& model, const fit_options& o, const texts& all, const texts& classes,
                   ordered_json& selection) {
  const auto s =
      select_both_ends(ctx, all.features.view(), std::span<const std::string>(all.names), classes.features.view(),
                       {.count = o.words.count > 0 ? o.words.count : 10000, .rank = o.words.rank});
  selection["rank"] = std::min(o.words.rank, classes.features.rows());
  selection["farthest"] = s.farthest.size();
  selection["nearest"] = s.nearest.size();
  auto ends = s.farthest;
  ends.insert(ends.end(), s.nearest.begin(), s.nearest.end());
  auto out = rows_of(all, ends);
  const auto far = static_cast<std::ptrdiff_t>(s.farthest.size());
  const auto put = [&](index_type first, const std::vector<std::string>& words, const std::vector<std::string>& by) {
    if (words.empty()) return;
    const auto features = model.encode_words(words, by);
    std::ranges::copy(features.values(), out.features.row(first).begin());
  };
  const std::vector<std::string> published{"a photo of a {}"};
  put(0, {out.names.begin(), out.names.begin() + far}, o.words.templates.empty() ? published : o.words.templates);
  put(far, {out.names.begin() + far, out.names.end()}, {o.words.near_template});
  return out;
}

/// InterNeg: image proxies of the classes and the words of largest deviation degree.
template <Backend B>
texts by_deviation(B& ctx, const fit_options& o, const texts& all, const texts& classes,
                   const host_matrix<float>& proxies, ordered_json& selection, std::string& remark) {
  const auto tags = quota_tags(o, all);
  const inter_modal_distances distances(classes.features.view(), proxies.view());
  const auto s = select_by_deviation(ctx, all.features.view(), std::span<const std::string>(all.names), distances,
                                     {.count = o.words.count > 0 ? o.words.count : 2000, .tags = tags});
  remark = "; " + std::to_string(s.passed) + " of " + std::to_string(s.tested) + " tested are candidates";
  selection["tested"] = s.tested;
  selection["passed"] = s.passed;
  selection["quota"] = tags.empty() ? "none" : "pos";
  return rows_of(all, s.words);
}

template <Backend B>
host_matrix<float> proxies_of(B& ctx, text_encoder<B>& model, const fit_options& o, const texts& classes) {
  if (o.train.empty() && o.train_features.empty())
    fail(error_category::usage, "negood.cli.6", "fit", "interneg has no images of the classes",
         "give --train, or --train-features and --train-labels");
  const auto train = read_training_data(ctx, o, model.get(), read_class_names(o.common, o.names, o.text)).features;
  return class_proxies(train.features, train.labels, static_cast<index_type>(classes.names.size()));
}

/// Refuses no source, two of them, and for interneg one that cannot be chosen from.
void check_sources(const fit_options& o) {
  const auto& w = o.words;
  if (o.method == "interneg" && w.mine.empty())
    fail(error_category::usage, "negood.cli.6", "fit", "interneg has no words to choose from",
         "give --mine with a word list or a WordNet folder (Debian: /usr/share/wordnet)");
  const int given = !w.negatives_file.empty() + !w.negative_features.empty() + !w.mine.empty();
  if (given != 1)
    fail(error_category::usage, "negood.cli.6", "fit",
         given == 0 ? o.method + " has no negatives" : "negatives come from more than one place",
         "give one of --negatives-file, --negative-features, --mine; mcm needs none");
  choose<int>("--quota", w.quota, {{"pos", 0}, {"none", 1}});
}

texts features_given(const fit_options& o) {
  texts out;
  out.source = o.words.negative_features;
  if (read_features<float>(out.source, {.dequant_scale = o.rows.dequant}).values.rows() == 0)
    fail(error_category::data, "negood.cli.11", out.source, "there are no negatives", "use mcm, which needs none");
  out.features = read_unit_features<float>(o.common, out.source, o.rows).rows;
  return out;
}

}  // namespace

template <Backend B>
negative_texts negatives_of(B& ctx, text_encoder<B>& model, const fit_options& o, const texts& classes) {
  check_sources(o);
  negative_texts out;
  if (!o.words.negative_features.empty()) {
    out.words = features_given(o);
    check_same_width(out.words.features.cols(), out.words.source, classes.features.cols(), classes.source);
    return out;
  }
  if (o.method == "interneg") out.proxies = proxies_of(ctx, model, o, classes);
  const bool chosen = !o.words.mine.empty(), ends = chosen && o.method == "clipscope";
  texts all;
  all.source = chosen ? o.words.mine : o.words.negatives_file;
  // CLIPScope chooses among nouns; words that were given are used as they are.
  const auto read = read_words(o, all.source, classes.names, !ends);
  all.names = texts_of(o, read.words);
  all.tags = read.words.tags;
  all.features =
      ends ? model.encode_words(all.names, {o.words.mining_template}) : model.encode_tagged(all.names, all.tags);
  check_same_width(all.features.cols(), all.source, classes.features.cols(), classes.source);
  out.templates = templates_of(o);
  if (!chosen) {
    out.words = std::move(all);
    return out;
  }
  std::string remark;
  if (ends) {
    out.selection = selection_of(o, read, "both_ends");
    out.words = by_both_ends(ctx, model, o, all, classes, out.selection);
    out.templates = {
        {"mining", o.words.mining_template},
        {"farthest", o.words.templates.empty() ? std::vector<std::string>{"a photo of a {}"} : o.words.templates},
        {"nearest", o.words.near_template}};
  } else if (o.method == "csp") {
    out.selection = selection_of(o, read, "csp");
    out.words = by_csp(ctx, o, all, classes, out.selection);
  } else if (o.method == "interneg") {
    out.selection = selection_of(o, read, "deviation_degree");
    out.words = by_deviation(ctx, o, all, classes, out.proxies, out.selection, remark);
  } else {
    out.selection = selection_of(o, read, "percentile");
    out.words = by_percentile(ctx, o, all, classes, out.selection);
  }
  say_selected(o, out.words.names.size(), all.names.size(), remark);
  return out;
}

#define NEGOOD_CLI_FIT_NEGATIVES(B) \
  template negative_texts negatives_of(B&, text_encoder<B>&, const fit_options&, const texts&);
NEGOOD_CLI_EACH_BACKEND(NEGOOD_CLI_FIT_NEGATIVES)
#undef NEGOOD_CLI_FIT_NEGATIVES

}  // namespace negood::cli
