// negood fit: zero-shot detectors, NegLabel and InterNeg, which learn nothing. Learned prompts are in fit_prompts.cpp.
#include "training_data.hpp"

#include <negood/io/corpus.hpp>
#include <negood/io/detector.hpp>
#include <negood/select/deviation_degree.hpp>
#include <negood/select/percentile.hpp>

#include <set>

namespace negood::cli {

namespace {

/// Text features of the classes, or of negative words, with where they came from.
struct texts {
  host_matrix<float> features;
  std::vector<std::string> names;
  std::string source;
};

/// The model, loaded when it is first needed.
template <Backend B>
class lazy_model {
 public:
  lazy_model(B& ctx, const fit_options& o) : ctx_(ctx), o_(o) {}
  const clip::model<B>& get() {
    if (!model_) model_.emplace(load_model(ctx_, o_.common, o_.model));
    return *model_;
  }
  bool given() const noexcept { return !o_.model.empty(); }
  host_matrix<float> encode(const std::vector<std::string>& names, const std::vector<std::string>& patterns) {
    return cast<float>(clip::encode_texts_with_templates(ctx_, get(), std::span<const std::string>(names),
                                                         std::span<const std::string>(patterns), o_.text.encoding()));
  }

 private:
  B& ctx_;
  const fit_options& o_;
  std::optional<clip::model<B>> model_;
};

template <Backend B>
texts class_texts(lazy_model<B>& model, const fit_options& o) {
  texts out;
  out.names = read_class_names(o.common, o.names, o.text).names;
  if (o.text_features.empty()) {
    out.features = model.encode(out.names, o.text.patterns());
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

/// Words without those that name a class or stand twice (F-14).
std::vector<std::string> usable_words(const fit_options& o, const std::string& file,
                                      const std::vector<std::string>& classes) {
  const auto key = [](std::string s) {
    for (char& c : s) c = c == '_' ? ' ' : c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return s;
  };
  auto lines = read_names(file, {.duplicates = duplicate_policy::keep});
  std::set<std::string> taken;
  for (const auto& c : classes) taken.insert(key(c));
  std::vector<std::string> out;
  std::string dropped;
  std::size_t count = 0;
  for (auto& line : lines) {
    auto word = line.substr(0, line.find('\t'));  // a word list may hold a part of speech after a tab
    if (taken.insert(key(word)).second) {
      out.push_back(std::move(word));
    } else if (++count <= 10) {
      dropped += (dropped.empty() ? "" : ", ") + word;
    }
  }
  if (count > 0)
    note(o.common, file + ": " + std::to_string(count) + " words dropped that name a class or stand twice: " + dropped +
                       (count > 10 ? ", ..." : ""));
  if (out.empty())
    fail(error_category::data, "negood.cli.11", file, "no negative word is left", "use mcm, which needs none");
  return out;
}

template <Backend B>
texts negative_texts(B& ctx, lazy_model<B>& model, const fit_options& o, const texts& classes) {
  const int given = !o.negatives_file.empty() + !o.negative_features.empty() + !o.mine.empty();
  if (given != 1)
    fail(error_category::usage, "negood.cli.6", "fit",
         given == 0 ? o.method + " has no negatives" : "negatives come from more than one place",
         "give one of --negatives-file, --negative-features, --mine; mcm needs none");
  texts out;
  const auto patterns = o.negative_templates.empty() ? o.text.patterns() : o.negative_templates;
  if (!o.negative_features.empty()) {
    out.source = o.negative_features;
    auto raw = read_features<float>(o.negative_features, {.dequant_scale = o.rows.dequant});
    if (raw.values.rows() == 0)
      fail(error_category::data, "negood.cli.11", o.negative_features, "there are no negatives",
           "use mcm, which needs none");
    out.features = read_unit_features<float>(o.common, o.negative_features, o.rows).rows;
  } else {
    out.source = o.mine.empty() ? o.negatives_file : o.mine;
    out.names = usable_words(o, out.source, classes.names);
    out.features = model.encode(out.names, patterns);
  }
  check_same_width(out.features.cols(), out.source, classes.features.cols(), classes.source);
  if (o.mine.empty()) return out;

  const auto selected = select_by_percentile(
      ctx, out.features.view(), std::span<const std::string>(out.names), classes.features.view(),
      {.count = o.mine_count, .fraction = o.mine_count > 0 ? 0 : o.mine_share, .percentile = o.percentile});
  if (selected.empty())
    fail(error_category::data, "negood.cli.11", o.mine, "no negative word is selected",
         "raise --mine-share, or use mcm, which needs none");
  texts kept{host_matrix<float>(static_cast<index_type>(selected.size()), out.features.cols()), {}, out.source};
  for (std::size_t i = 0; i < selected.size(); ++i) {
    std::ranges::copy(out.features.row(selected[i].index), kept.features.row(static_cast<index_type>(i)).begin());
    kept.names.push_back(out.names[static_cast<std::size_t>(selected[i].index)]);
  }
  note(o.common,
       o.mine + ": " + std::to_string(selected.size()) + " of " + std::to_string(out.names.size()) + " words selected");
  return kept;
}

/// InterNeg: image proxies of the classes and the words of largest deviation degree.
struct interneg_parts {
  host_matrix<float> proxies;
  texts negatives;
  ordered_json selection;
};

template <Backend B>
interneg_parts interneg_of(B& ctx, lazy_model<B>& model, const fit_options& o, const texts& classes) {
  if (o.mine.empty())
    fail(error_category::usage, "negood.cli.6", "fit", "interneg has no words to choose from",
         "give --mine with a word list or a WordNet folder (Debian: /usr/share/wordnet)");
  if (o.train.empty() && o.train_features.empty())
    fail(error_category::usage, "negood.cli.6", "fit", "interneg has no images of the classes",
         "give --train, or --train-features and --train-labels");
  if (o.quota != "pos" && o.quota != "none")
    fail(error_category::usage, "negood.cli.3", "--quota", "'" + o.quota + "' is not a choice",
         "choose from pos, none");
  const auto train = read_training_data(ctx, o, model.get(), read_class_names(o.common, o.names, o.text)).features;
  const auto classes_count = static_cast<index_type>(classes.names.size());
  interneg_parts out{class_proxies(train.features, train.labels, classes_count), {}, {}};

  corpus_report report;
  const corpus_options wanted{.exclude_files = o.exclude_files};
  auto words = std::filesystem::is_directory(o.mine) ? read_wordnet(o.mine, wanted, &report)
                                                     : read_word_list(o.mine, wanted, &report);
  remove_class_names(words, classes.names, o.exact_names, &report);
  const auto candidates =
      model.encode(words.words, o.negative_templates.empty() ? o.text.patterns() : o.negative_templates);
  const bool tagged = o.quota == "pos" && std::ranges::count(words.tags, "") == 0;
  const inter_modal_distances distances(classes.features.view(), out.proxies.view());
  const auto selected =
      select_by_deviation(ctx, candidates.view(), std::span<const std::string>(words.words), distances,
                          {.count = o.mine_count > 0 ? o.mine_count : 2000,
                           .tags = tagged ? std::span<const std::string>(words.tags) : std::span<const std::string>()});
  out.negatives.source = o.mine;
  out.negatives.features = host_matrix<float>(static_cast<index_type>(selected.words.size()), candidates.cols());
  for (std::size_t i = 0; i < selected.words.size(); ++i) {
    std::ranges::copy(candidates.row(selected.words[i].index),
                      out.negatives.features.row(static_cast<index_type>(i)).begin());
    out.negatives.names.push_back(words.words[static_cast<std::size_t>(selected.words[i].index)]);
  }
  note(o.common, o.mine + ": " + std::to_string(selected.words.size()) + " of " + std::to_string(words.words.size()) +
                     " words selected; " + std::to_string(selected.passed) + " of " + std::to_string(selected.tested) +
                     " tested are candidates, " + std::to_string(report.class_names) + " name a class");
  out.selection = {{"rule", "deviation_degree"},
                   {"candidates", words.words.size()},
                   {"tested", selected.tested},
                   {"passed", selected.passed},
                   {"quota", tagged ? "pos" : "none"},
                   {"excluded_files", o.exclude_files},
                   {"class_names_dropped", report.class_names}};
  return out;
}

/// The scale of softmax scores: as given, else the model's; methods on plain cosines need none (F-20).
template <Backend B>
double scale_for(lazy_model<B>& model, const fit_options& o) {
  if (o.logit_scale) {
    if (const auto warning = clip::check_logit_scale(*o.logit_scale, "--logit-scale"); !warning.empty())
      note(o.common, warning);
    return *o.logit_scale;
  }
  if (model.given() && !std::isnan(model.get().logit_scale)) return clip::require_logit_scale(model.get(), o.model);
  if (needs_logit_scale(o.method))
    fail(error_category::usage, "negood.detector.8", "fit", "method " + o.method + " needs a logit scale",
         "--logit-scale 100 is that of the published weights");
  return 1;
}

template <Backend B>
int fit_zero_shot(B& ctx, const fit_options& o) {
  lazy_model<B> model(ctx, o);
  if (o.text_features.empty() && !model.given())
    fail(error_category::usage, "negood.cli.5", "fit", "--model is missing",
         "or give the classes' text features with --text-features");
  auto classes = class_texts(model, o);
  detector_record r;
  r.method = o.method;
  r.temperature = o.temperature.value_or(1.0);
  r.logit_scale = scale_for(model, o);
  r.seed = o.common.seed;
  ordered_json options{
      {"templates", o.text_features.empty() ? ordered_json(o.text.patterns()) : ordered_json(nullptr)}};
  texts negatives;
  if (o.method == "neglabel" || o.method == "eoe") {
    negatives = negative_texts(ctx, model, o, classes);
    r.groups = o.method == "eoe" ? 1 : o.groups;
    if (o.method == "eoe") r.beta = o.beta.value_or(r.beta);
    r.negative = std::move(negatives.features);
    if (!negatives.names.empty()) options["negative_words"] = negatives.names;
    if (!o.mine.empty()) options["selection"] = {{"rule", "percentile"}, {"percentile", o.percentile}};
  }
  if (o.method == "interneg") {
    auto parts = interneg_of(ctx, model, o, classes);
    r.proxies = std::move(parts.proxies);
    r.negative = std::move(parts.negatives.features);
    options["negative_words"] = parts.negatives.names;
    options["selection"] = parts.selection;
  }
  std::string fingerprint = model.given() ? model.get().fingerprint : std::string();
  for (const auto& file : {o.text_features, o.negative_features}) {
    if (file.empty()) continue;
    const auto other = fingerprint_of_features(file);
    if (check_encoder(o.common, other, file, fingerprint, "the rest", o.force_encoder))
      options["forced_encoder"] = true;
    if (fingerprint.empty()) fingerprint = other;
  }
  r.encoder_fingerprint = fingerprint;
  r.labels = std::move(classes.names);
  r.positive = std::move(classes.features);
  if (r.negative.rows() == 0) r.negative = host_matrix<float>(0, r.positive.cols());
  r.options = dump_json(options);
  save(r, o.out);
  say(o.common, escape(o.out) + ": " + r.method + " over " + std::to_string(r.labels.size()) + " classes" +
                    (r.negative.rows() > 0 ? ", " + std::to_string(r.negative.rows()) + " negatives" : ""));
  result(o.common, {{"out", o.out},
                    {"method", r.method},
                    {"classes", r.labels.size()},
                    {"negatives", r.negative.rows()},
                    {"groups", r.groups},
                    {"logit_scale", r.logit_scale},
                    {"encoder_fingerprint", r.encoder_fingerprint}});
  return 0;
}

}  // namespace

int run_fit(const fit_options& o) {
  if (o.method == "negprompt" || o.method == "coop") return run_fit_prompts(o);
  for (const std::string_view later : {"krnft", "knn", "mahalanobis"})
    if (o.method == later)
      fail(error_category::usage, "negood.cli.3", "--method", "'" + o.method + "' is not in this version");
  detector_record probe;
  probe.method = o.method;
  try {
    scorer_of(probe);
  } catch (const error& e) {
    fail(error_category::usage, "negood.cli.3", "--method", e.what_happened(), e.hint());
  }
  if (o.names.empty())
    fail(error_category::usage, "negood.cli.6", "fit", "--names is missing", "one class name a line");
  if (o.out.empty()) fail(error_category::usage, "negood.cli.6", "fit", "--out is missing");
  return with_backend(o.common, [&](auto& ctx) { return fit_zero_shot(ctx, o); });
}

}  // namespace negood::cli
