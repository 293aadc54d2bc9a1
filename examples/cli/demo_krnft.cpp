// KR-NFT in the demonstration: rows of the table, what each part does, unseen classes and styles, lambda_2, and L_n
// without anything that holds it.
#include "demo_stage.hpp"

#include <negood/clip/encode_crops.hpp>
#include <negood/clip/encode_text.hpp>
#include <negood/feature/fit_krnft.hpp>
#include <negood/io/number.hpp>
#include <negood/metric/accuracy.hpp>
#include <negood/select/percentile.hpp>

#include <array>

namespace negood::demo {
namespace {

constexpr index_type negative_words = 1200, crops = 32, kept_crops = 8, study_images = 1000;

/// Texts that a map is bound to, and images that are scored with it.
struct protocol {
  std::string name;
  host_matrix<float> classes, negatives, id;
  std::vector<index_type> truth;
  std::vector<std::pair<std::string, host_matrix<float>>> near, far;
};

host_matrix<float> evenly(const host_matrix<float>& all, index_type most) {
  const index_type n = std::min(all.rows(), most);
  host_matrix<float> out(n, all.cols());
  for (index_type i = 0; i < n; ++i) std::ranges::copy(all.row(i * all.rows() / n), out.row(i).begin());
  return out;
}

/// The words farthest from some names; words that are such names themselves are left out.
template <Backend B>
host_matrix<float> mined(stage<B>& s, const host_matrix<float>& names_text, const std::vector<std::string>& names) {
  const auto ranking = select_by_percentile(s.ctx, s.word_features.view(), s.words, names_text.view(),
                                            {.count = negative_words + static_cast<index_type>(names.size())});
  host_matrix<float> out(negative_words, names_text.cols());
  index_type next = 0;
  const auto lower = [](std::string t) {
    for (char& c : t) c = c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
    return t;
  };
  for (const auto& w : ranking) {
    const auto& word = s.words[static_cast<std::size_t>(w.index)];
    if (next == negative_words ||
        std::ranges::any_of(names, [&](const std::string& n) { return lower(n) == lower(word); }))
      continue;
    std::ranges::copy(s.word_features.row(w.index), out.row(next++).begin());
  }
  return out;
}

/// Pictures as they are seldom seen: a photographic negative, or nearly without contrast.
image inverted(image picture) {
  for (auto& v : picture.rgb) v = static_cast<std::uint8_t>(255 - v);
  return picture;
}
image faint(image picture) {
  for (auto& v : picture.rgb) v = static_cast<std::uint8_t>(96 + v / 4);
  return picture;
}

template <Backend B>
host_matrix<float> styled(stage<B>& s, std::size_t set, image (*style)(image)) {
  const index_type all = s.sets[set].count, n = std::min(all, study_images);
  return clip::encode_images_from(s.ctx, s.model, n,
                                  [&](index_type i) { return style(s.sets[set].load(i * all / n)); });
}

/// A map and what training said last.
struct trained_map {
  tuned_features<float> features;
  krnft_trace_row last;
  double seconds = 0;
};

/// One training of the study.
struct setting {
  std::string name;
  feature_model model;
  double lambda2;
};

}  // namespace

struct tuning_stage {
  host_matrix<float> negatives, part_negatives;  // mined against all five ID names, and against the first three
  std::vector<protocol> protocols;
};

template <Backend B>
std::shared_ptr<tuning_stage> prepare_krnft(stage<B>& s) {
  auto out = std::make_shared<tuning_stage>();
  out->negatives = mined(s, s.id_text, s.id_names);
  const std::vector<std::string> part_names(s.id_names.begin(), s.id_names.begin() + 3);
  host_matrix<float> part_text(3, s.id_text.cols());
  for (index_type i = 0; i < 3; ++i) std::ranges::copy(s.id_text.row(i), part_text.row(i).begin());
  out->part_negatives = mined(s, part_text, s.id_names);
  const auto near_text =
      clip::encode_texts_with_templates(s.ctx, s.model, s.near_names, std::vector<std::string>{plain_prompt});
  const auto sampled_truth = [&](index_type all) {
    std::vector<index_type> truth;
    const index_type n = std::min(all, study_images);
    for (index_type i = 0; i < n; ++i) truth.push_back(s.id_truth[static_cast<std::size_t>(i * all / n)]);
    return truth;
  };
  std::size_t near = 1;
  for (std::size_t k = 1; k < s.sets.size(); ++k)
    if (s.sets[k].near) near = k;
  std::vector<std::pair<std::string, host_matrix<float>>> far;
  for (std::size_t k = 1; k < s.sets.size(); ++k)
    if (!s.sets[k].near) far.emplace_back(s.sets[k].name, evenly(s.features[k], study_images));
  const auto id = evenly(s.features[0], study_images), other = evenly(s.features[near], study_images);
  const auto truth = sampled_truth(s.features[0].rows());

  std::vector<index_type> near_truth;
  const index_type near_count = s.sets[near].count, n = std::min(near_count, study_images);
  for (index_type i = 0; i < n; ++i) {
    const auto& name = s.sets[near].truth[static_cast<std::size_t>(i * near_count / n)];
    near_truth.push_back(std::ranges::find(s.near_names, name) - s.near_names.begin());
  }
  out->protocols.push_back({"trained classes", s.id_text, out->negatives, id, truth, {{"near", other}}, far});
  out->protocols.push_back(
      {"unseen classes", near_text, mined(s, near_text, s.near_names), other, near_truth, {{"near", id}}, far});
  const std::pair<const char*, image (*)(image)> styles[] = {{"unseen style: inverted", inverted},
                                                             {"unseen style: faint", faint}};
  for (const auto& [name, style] : styles)
    out->protocols.push_back(
        {name, s.id_text, out->negatives, styled(s, 0, style), truth, {{"near", styled(s, near, style)}}, far});
  return out;
}

namespace {

/// Five epochs of 80 images, at the rate by which 400 steps take a coordinate as far as the paper's 1,200 of 1e-5.
krnft_options tuning_options_here(std::uint64_t seed) {
  auto o = krnft_options::paper();
  o.steps = 400;
  o.hidden = 16;
  o.learning_rate = 3e-5;
  o.crops = crops;
  o.keep = kept_crops;
  o.seed = seed;
  return o;
}

/// Everything of one seed.
template <Backend B>
class tuning_run {
 public:
  tuning_run(stage<B>& s, tuning_stage& t, demo_result& r, const held_back& held, std::uint64_t seed)
      : s_(s), t_(t), r_(r), held_(held), seed_(seed), data_(crops_of(held)) {}

  trained_map train(const feature_model& model, double lambda2, const krnft_options* how = nullptr,
                    index_type classes = 5, const std::function<void(const krnft_trace_row&)>& watch = {}) {
    auto o = how ? *how : tuning_options_here(seed_);
    o.model = model;
    o.knowledge_weight = lambda2;
    krnft_texts<float> texts;
    texts.classes = classes == 5 ? s_.id_text : head(s_.id_text, classes);
    texts.negatives = classes == 5 ? t_.negatives : t_.part_negatives;
    texts.permutation = permutation(seed_, random_purpose::label_group, 0, negative_words / o.groups * o.groups);
    texts.logit_scale = s_.model.logit_scale;
    krnft_hooks<float> hooks;
    hooks.on_step = watch;
    const auto data = classes == 5 ? data_ : of_classes(classes);
    const auto begin = clock::now();
    auto fit = fit_krnft(s_.ctx, texts, data, o, {}, hooks);
    fit.features.encoder_fingerprint = s_.model.fingerprint;
    return {std::move(fit.features), fit.last, seconds_since(begin)};
  }

  /// A map under one protocol: an outcome for the near and one for the far sets.
  void score(const trained_map& map, const protocol& p, const char* study, const std::string& name, double value) {
    const auto scorer = map.features.bind(s_.ctx, p.classes.view(), p.negatives.view());
    const auto of = [&](const host_matrix<float>& images) { return scorer(s_.ctx, images.view()); };
    const auto known = of(p.id);
    const auto id = grouped_log_odds(known);
    for (const bool near : {true, false}) {
      tuning_outcome out{study, name, p.name, near ? "near" : "far", seed_, value};
      const auto& sets = near ? p.near : p.far;
      for (const auto& set : sets) {
        const auto ood = grouped_log_odds(of(set.second));
        const auto report = evaluate(std::span<const double>(id), std::span<const double>(ood));
        if (!report.values) continue;
        const auto share = 1 / static_cast<double>(sets.size());
        out.auroc += share * report.values->auroc;
        out.fpr_id_positive += share * report.values->fpr[fpr_convention::id_positive_nearest];
        out.fpr_ood_positive += share * report.values->fpr[fpr_convention::ood_positive_first];
      }
      out.id_accuracy = accuracy(known.predicted, p.truth).value_or(0);
      out.knowledge = map.last.knowledge;
      out.outlier = map.last.outlier;
      out.largest_delta = map.last.conditioning.largest_delta;
      r_.tuning.push_back(std::move(out));
    }
  }

  void row(const char* name, const char* title, const char* text, const trained_map* map, bool first) {
    auto record = text_detector(s_, "neglabel", t_.negatives, 1).record();
    if (map) attach_features(record, map->features);
    detector<B> d(s_.ctx, std::move(record));
    auto run = measure(s_, d, held_.calibration, first, seed_);
    run.seconds = map ? map->seconds : 0;
    method(r_, name, title, text, map != nullptr).runs.push_back(std::move(run));
  }

 private:
  krnft_training_data<float> crops_of(const held_back& held) {
    const auto n = static_cast<index_type>(held.rows.size());
    host_matrix<float> label_text(n, s_.id_text.cols());
    for (index_type i = 0; i < n; ++i)
      std::ranges::copy(s_.id_text.row(held.train.labels[static_cast<std::size_t>(i)]), label_text.row(i).begin());
    clip::crop_options how{.crops = crops, .keep = kept_crops};
    how.augment.seed = seed_;
    auto kept = clip::encode_crops(
        s_.ctx, s_.model, n, [&](index_type i) { return s_.data.train.at(held.rows[static_cast<std::size_t>(i)]); },
        label_text.view(), how);
    return {std::move(kept.positives), std::move(kept.negatives), held.train.labels};
  }
  static host_matrix<float> head(const host_matrix<float>& m, index_type rows) {
    return host_matrix<float>(rows, m.cols(), std::vector<float>(m.data(), m.data() + rows * m.cols()));
  }
  /// The crops of the first classes; images come class by class.
  krnft_training_data<float> of_classes(index_type classes) const {
    const auto n =
        static_cast<index_type>(std::ranges::count_if(data_.labels, [&](index_type y) { return y < classes; }));
    return {head(data_.positives, n * kept_crops),
            head(data_.negatives, n * kept_crops),
            {data_.labels.begin(), data_.labels.begin() + n}};
  }

  stage<B>& s_;
  tuning_stage& t_;
  demo_result& r_;
  const held_back& held_;
  std::uint64_t seed_;
  krnft_training_data<float> data_;
};

}  // namespace

template <Backend B>
void run_krnft(stage<B>& s, tuning_stage& t, demo_result& r, const demo_options& o, const held_back& held,
               std::uint64_t seed, bool first, double done) {
  report_progress(o, "seed " + std::to_string(seed) + ": tuning features", done);
  tuning_run run(s, t, r, held, seed);
  constexpr auto none = parameter_scope::none, shared = parameter_scope::shared;
  constexpr auto unified = label_partition::unified;
  const double lambda2 = krnft_options::paper().knowledge_weight;
  const auto everywhere = [&](const trained_map& map, const char* study, const std::string& name) {
    for (const auto& p : t.protocols) run.score(map, p, study, name, 0);
  };

  const std::vector<setting> steps{{"nothing learned (NegLabel)", feature_models::identity, 0},
                                   {"scale alone", {shared, none, false, unified}, 0},
                                   {"shift alone", {none, shared, false, unified}, 0},
                                   {"scale and shift (SSF)", feature_models::ssf, 0},
                                   {"and two partitions (NFT)", feature_models::nft, 0},
                                   {"scale, shift and condition (CoFT)", feature_models::coft, 0},
                                   {"condition and partitions", feature_models::kr_nft, 0},
                                   {"and L_kr (KR-NFT)", feature_models::kr_nft, lambda2}};
  std::map<double, trained_map> by_weight;  // of KR-NFT
  for (const auto& step : steps) {
    const bool learns = !(step.model == feature_models::identity);
    trained_map map;
    if (learns)
      map = run.train(step.model, step.lambda2);
    else
      map.features = {
          initial_feature_parameters<float>(step.model, s.id_text.cols(), 0), s.model.logit_scale, seed, {}};
    everywhere(map, "parts", step.name);
    if (step.model == feature_models::kr_nft) by_weight.emplace(step.lambda2, map);
    if (!learns)
      run.row("neglabel-one", "NegLabel, one group", "the same 1,200 words in one group, as KR-NFT scores", nullptr,
              first);
    if (step.lambda2 == 0) continue;
    run.row("krnft", "KR-NFT",
            "text features scaled and shifted under the image's own condition, classes and negatives apart, held near "
            "where they were (Eq. 6)",
            &map, first);
  }
  const auto nft = run.train(feature_models::nft, lambda2), coft = run.train(feature_models::coft, lambda2);
  run.row("nft", "NFT", "the same losses, scale and shift without the image's condition (Eq. 4)", &nft, first);
  run.row("coft", "CoFT", "the same losses, one map for classes and negatives (Eq. 5)", &coft, first);
  const auto open = run.train(feature_models::kr_nft, lambda2, nullptr, 3);
  run.row("krnft-open", "KR-NFT, open vocabulary",
          "learned on three of the five classes with negatives mined against those, bound to all five", &open, first);

  for (const double weight : {0.0, 0.1, 1.0, 10.0, 100.0, 1000.0}) {
    if (!by_weight.contains(weight)) by_weight.emplace(weight, run.train(feature_models::kr_nft, weight));
    for (std::size_t p = 0; p < 2; ++p)
      run.score(by_weight.at(weight), t.protocols[p], "lambda2", format_number(weight), weight);
  }
  // L_n has no lower bound: a rate at which it runs, with and without what holds it.
  auto fast = tuning_options_here(seed);
  fast.learning_rate = 0.01;
  for (const double weight : {0.0, lambda2}) {
    runaway_trace trace{weight, seed, {}, {}, {}, {}};
    const auto map = run.train(feature_models::kr_nft, weight, &fast, 5, [&](const krnft_trace_row& row) {
      trace.at.push_back(static_cast<double>(row.step));
      trace.outlier.push_back(row.outlier);
      trace.knowledge.push_back(row.knowledge);
      trace.largest_delta.push_back(row.conditioning.largest_delta);
    });
    for (std::size_t p = 0; p < 2; ++p)
      run.score(map, t.protocols[p], "runaway", weight == 0 ? "without L_kr" : "with L_kr", weight);
    r.runaway.push_back(std::move(trace));
  }
}

std::map<std::string, std::string> tuning_option_texts() {
  const auto o = tuning_options_here(1);
  return {{"KR-NFT", "preset paper but for: " + std::to_string(o.steps) + " steps, rate " +
                         format_number(o.learning_rate) + ", hidden width " + std::to_string(o.hidden) + ", " +
                         std::to_string(o.crops) + " crops an image, " + std::to_string(o.keep) +
                         " kept on a side; lambda_2 " + format_number(o.knowledge_weight) + ", " +
                         std::to_string(o.groups) + " groups in training, one in scores, " +
                         std::to_string(negative_words) + " negative words"}};
}

#define NEGOOD_DEMO_KRNFT(B)                                                                             \
  template std::shared_ptr<tuning_stage> prepare_krnft(stage<B>&);                                       \
  template void run_krnft(stage<B>&, tuning_stage&, demo_result&, const demo_options&, const held_back&, \
                          std::uint64_t, bool, double);
NEGOOD_CLI_EACH_FLOAT_BACKEND(NEGOOD_DEMO_KRNFT)
#undef NEGOOD_DEMO_KRNFT

}  // namespace negood::demo
