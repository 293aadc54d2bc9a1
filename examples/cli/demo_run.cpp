#include "demo_stage.hpp"

#include <negood/clip/encode_image.hpp>
#include <negood/clip/encode_text.hpp>
#include <negood/io/corpus.hpp>
#include <negood/io/detector.hpp>
#include <negood/io/model.hpp>
#include <negood/io/names.hpp>
#include <negood/io/text_lines.hpp>
#include <negood/metric/accuracy.hpp>
#include <negood/negprompt.hpp>
#include <negood/select/percentile.hpp>

#include <Eigen/Eigenvalues>

#include <algorithm>
#include <ctime>
#include <fstream>
#include <numeric>
#include <set>

namespace negood::demo {
namespace {

picture_set test_pictures(const fashion& data, const std::vector<index_type>& labels, std::string name,
                          std::string description, const std::vector<std::string>& names) {
  picture_set set{std::move(name), std::move(description), false, 0, {}, {}};
  std::vector<index_type> rows;
  for (index_type i = 0; i < data.test.count; ++i)
    if (std::ranges::count(labels, data.test_labels[static_cast<std::size_t>(i)]) > 0) {
      rows.push_back(i);
      set.truth.push_back(names[static_cast<std::size_t>(data.test_labels[static_cast<std::size_t>(i)])]);
    }
  set.count = static_cast<index_type>(rows.size());
  set.load = [&data, rows](index_type i) { return data.test.at(rows[static_cast<std::size_t>(i)]); };
  return set;
}

template <Backend B>
stage<B> prepare(B& ctx, const demo_options& o) {
  stage<B> s{ctx,
             clip::load(ctx, o.models / "demo-clip"),
             read_fashion(o.fashion),
             {},
             {},
             {},
             {},
             std::vector<index_type>(10, -1),
             50000,
             60000,
             {},
             {},
             {},
             {},
             {},
             {},
             {}};
  s.all_names = read_names(o.models / "demo-clip" / "fashion_names.txt");
  std::vector<index_type> near_classes;
  for (index_type c = 0; c < 10; ++c) {
    const auto& name = s.all_names[static_cast<std::size_t>(c)];
    if (c % 2 == 0) {
      s.id_of[static_cast<std::size_t>(c)] = static_cast<index_type>(s.id_names.size());
      s.id_names.push_back(name);
      s.id_classes.push_back(c);
    } else {
      s.near_names.push_back(name);
      near_classes.push_back(c);
    }
  }
  s.sets.push_back(
      test_pictures(s.data, s.id_classes, "id", "Fashion-MNIST test images of the ID classes", s.all_names));
  s.sets.push_back(test_pictures(s.data, near_classes, "near: other clothes",
                                 "Fashion-MNIST test images of the other five classes", s.all_names));
  s.sets.back().near = true;
  s.sets.push_back(read_pictures(o.models / "demo-images" / "letters", "far: letters",
                                 "letters and digits in a font the model never saw"));
  s.sets.push_back(read_pictures(o.models / "demo-images" / "emoji", "far: emoji",
                                 "emoji of animals and food in a style the model never saw"));
  s.sets.push_back(make_textures(400, s.model.image.config.image_size, 20261121));
  for (index_type i = 0; i < s.data.test.count; ++i)
    if (const auto y = s.id_of[static_cast<std::size_t>(s.data.test_labels[static_cast<std::size_t>(i)])]; y >= 0)
      s.id_truth.push_back(y);

  for (std::size_t k = 0; k < s.sets.size(); ++k) {
    report_progress(o, "encoding " + s.sets[k].name,
                    0.05 + 0.25 * static_cast<double>(k) / static_cast<double>(s.sets.size()));
    s.features.push_back(clip::encode_images_from(s.ctx, s.model, s.sets[k].count, s.sets[k].load));
  }
  s.id_text = clip::encode_texts_with_templates(s.ctx, s.model, s.id_names, std::vector<std::string>{plain_prompt});
  report_progress(o, "encoding candidate words", 0.3);
  auto candidates = read_word_list(o.models / "demo-words.txt");
  remove_class_names(candidates, s.id_names);
  s.words = std::move(candidates.words);
  s.word_tags = std::move(candidates.tags);
  s.word_features = clip::encode_texts_with_templates(s.ctx, s.model, s.words, std::vector<std::string>{plain_prompt});
  return s;
}

template <Backend B>
host_matrix<float> encode_rows(stage<B>& s, const std::vector<index_type>& rows) {
  return clip::encode_images_from(s.ctx, s.model, static_cast<index_type>(rows.size()),
                                  [&](index_type i) { return s.data.train.at(rows[static_cast<std::size_t>(i)]); });
}

template <Backend B>
held_back draw_held_back(stage<B>& s, std::uint64_t seed) {
  held_back out;
  std::vector<index_type> rest, canaries;
  for (std::size_t k = 0; k < s.id_classes.size(); ++k) {
    std::vector<index_type> rows;
    for (index_type i = s.held_back_first; i < s.held_back_last; ++i)
      if (s.data.train_labels[static_cast<std::size_t>(i)] == s.id_classes[k]) rows.push_back(i);
    const auto order = permutation(seed, random_purpose::few_shot, k, static_cast<index_type>(rows.size()));
    const auto each = static_cast<index_type>(s.id_classes.size());
    const auto calibrating = shots + calibration_images / each, wanted = calibrating + canary_images / each;
    for (index_type j = 0; j < std::min<index_type>(wanted, static_cast<index_type>(order.size())); ++j) {
      const auto row = rows[static_cast<std::size_t>(order[static_cast<std::size_t>(j)])];
      if (j < shots) {
        out.rows.push_back(row);
        out.train.labels.push_back(static_cast<index_type>(k));
      } else {
        (j < calibrating ? rest : canaries).push_back(row);
      }
    }
  }
  out.train.features = encode_rows(s, out.rows);
  out.calibration = encode_rows(s, rest);
  out.canaries = encode_rows(s, canaries);
  return out;
}

/// The learned methods' options here: 80 images make short epochs, so both stages run a stated number of steps.
negprompt_options learning_options(std::uint64_t seed) {
  auto o = negprompt_options::paper();
  o.context_init = "a photo of a";
  o.seed = seed;
  o.stage1 = {.epochs = 100, .batch = 32, .learning_rate = 0.002};
  o.stage2 = {.epochs = 200, .batch = 64, .learning_rate = 0.02};
  return o;
}

}  // namespace

void report_progress(const demo_options& o, const std::string& what, double done) {
  if (o.progress) o.progress(what, done);
}

template <Backend B>
method_run measure(stage<B>& s, detector<B>& d, const host_matrix<float>& calibration, bool keep_scores,
                   std::uint64_t seed) {
  method_run run;
  run.seed = seed;
  run.threshold = calibrate(d, calibration).threshold;
  std::vector<std::vector<double>> scores;
  for (const auto& f : s.features) scores.push_back(d.score(f));
  const auto predicted = d.predict(s.features[0]);
  run.id_accuracy = accuracy(predicted, s.id_truth).value_or(0);
  run.id_recall = static_cast<double>(std::ranges::count_if(scores[0], [&](double v) { return v >= run.threshold; })) /
                  static_cast<double>(scores[0].size());
  for (std::size_t k = 1; k < scores.size(); ++k)
    run.metrics.push_back(evaluate(std::span<const double>(scores[0]), std::span<const double>(scores[k])));
  if (keep_scores) {
    run.scores = std::move(scores);
    run.detector = d.record();
  }
  return run;
}

template <Backend B>
detector<B> text_detector(stage<B>& s, std::string method, const host_matrix<float>& negatives, index_type groups) {
  detector_record r;
  r.method = std::move(method);
  r.labels = s.id_names;
  r.positive = s.id_text;
  r.negative = negatives;
  r.logit_scale = s.model.logit_scale;
  r.groups = groups;
  r.encoder_fingerprint = s.model.fingerprint;
  return detector<B>(s.ctx, std::move(r));
}

method_result& method(demo_result& r, std::string name, std::string title, std::string description, bool learned) {
  for (auto& m : r.methods)
    if (m.name == name) return m;
  r.methods.push_back({std::move(name), std::move(title), std::move(description), learned, {}});
  return r.methods.back();
}

namespace {

template <Backend B>
void zero_shot(stage<B>& s, demo_result& r, const host_matrix<float>& calibration, std::uint64_t seed) {
  const auto add = [&](const char* name, const char* title, const char* text, detector<B> d) {
    method(r, name, title, text, false)
        .runs.push_back(measure(s, d, calibration, r.methods.empty() || r.methods.back().runs.empty(), seed));
  };
  add("maxcosine", "Max cosine", "cosine to the nearest class name", text_detector(s, "maxcosine"));
  add("mcm", "MCM", "largest softmax probability of the cosines, temperature 1", text_detector(s, "mcm"));
  add("msp", "MSP", "largest softmax probability at the model's own scale", text_detector(s, "msp"));
  add("maxlogit", "MaxLogit", "largest logit; ranks as max cosine does", text_detector(s, "maxlogit"));
  add("energy", "Energy", "log-sum-exp of the logits at the model's own scale", text_detector(s, "energy"));

  // NegLabel: the 15 % of the candidate words farthest from the names, in 100 groups in an order drawn from the seed.
  const auto selected =
      select_by_percentile(s.ctx, s.word_features.view(), s.words, s.id_text.view(), {.fraction = 0.15});
  constexpr index_type groups = 100;
  const auto used = static_cast<index_type>(selected.size()) / groups * groups;
  host_matrix<float> negatives(used, s.id_text.cols());
  const auto order = permutation(seed, random_purpose::demonstration, 1, used);
  for (index_type j = 0; j < used; ++j)
    std::ranges::copy(s.word_features.row(selected[static_cast<std::size_t>(order[static_cast<std::size_t>(j)])].index),
                      negatives.row(j).begin());
  if (r.mined_words.empty())
    for (std::size_t j = 0; j < std::min<std::size_t>(24, selected.size()); ++j)
      r.mined_words.push_back(s.words[static_cast<std::size_t>(selected[j].index)]);
  add("neglabel", "NegLabel", "the class names against 1,200 mined WordNet words in 100 groups",
      text_detector(s, "neglabel", negatives, groups));
}

template <Backend B>
detector<B> prompt_detector(stage<B>& s, const learned_prompts<float>& prompts, bool negatives) {
  const auto bank = prompts.bind(s.ctx, s.model, s.id_names);
  auto d = negatives ? make_detector(s.ctx, bank, s.id_names, mcm_with_negatives{})
                     : make_detector(s.ctx, bank, s.id_names, mcm{});
  if (!negatives) d.record().method = "coop";
  attach_prompts(d.record(), prompts);
  d.record().encoder_fingerprint = s.model.fingerprint;
  return d;
}

/// The training rows of the first `classes` ID classes.
training_features<float> first_classes(const training_features<float>& all, index_type classes) {
  training_features<float> out;
  std::vector<index_type> rows;
  for (std::size_t i = 0; i < all.labels.size(); ++i)
    if (all.labels[i] < classes) {
      rows.push_back(static_cast<index_type>(i));
      out.labels.push_back(all.labels[i]);
    }
  out.features = host_matrix<float>(static_cast<index_type>(rows.size()), all.features.cols());
  for (std::size_t i = 0; i < rows.size(); ++i)
    std::ranges::copy(all.features.row(rows[i]), out.features.row(static_cast<index_type>(i)).begin());
  return out;
}

/// CoOp; NegPrompt as the paper states it; NegPrompt with the released code's loss and schedule; NegPrompt whose
/// contexts were learned on three of the five classes and bound to all.
template <Backend B>
std::optional<learned_prompts<float>> learned(stage<B>& s, demo_result& r, const held_back& held, std::uint64_t seed,
                                              bool first, const std::function<void(double)>& progress) {
  std::optional<learned_prompts<float>> shown;
  const auto run_one = [&](const char* name, const char* title, const char* text, bool negatives,
                           const std::vector<std::string>& names, const training_features<float>& train,
                           const training_start<float>& start, negprompt_options o) {
    const auto begin = clock::now();
    std::vector<trace_row> trace;
    training_hooks<float> hooks;
    hooks.on_step = [&](const trace_row& row) {
      trace.push_back(row);
      progress(static_cast<double>(row.step + 1) / static_cast<double>(row.steps));
    };
    auto fit = fit_negprompt(s.ctx, s.model, names, train, o, start, hooks);
    const double seconds = seconds_since(begin);
    auto d = prompt_detector(s, fit.prompts, negatives);
    auto run = measure(s, d, held.calibration, first, seed);
    run.seconds = seconds;
    run.mean_cosine = fit.final_mean_cosine;
    run.trace = std::move(trace);
    run.warnings = fit.warnings;
    method(r, name, title, text, true).runs.push_back(std::move(run));
    return fit.prompts;
  };
  auto o = learning_options(seed);
  auto only_positives = o;
  only_positives.stage2.epochs = 0;
  const auto coop =
      run_one("coop", "CoOp + MCM", "learned positive context, MCM", false, s.id_names, held.train, {}, only_positives);
  auto only_negatives = o;
  only_negatives.stage1.epochs = 0;
  training_start<float> from_coop;
  from_coop.positive = coop.positive;
  shown = run_one("negprompt", "NegPrompt", "learned positive and two negative contexts for every class", true,
                  s.id_names, held.train, from_coop, only_negatives);
  auto released = negprompt_options::released_oe();
  released.seed = seed;
  run_one("negprompt-released", "NegPrompt, released code",
          "the same with the loss, the rate of 0.1 and the schedule of the authors' program (preset released-oe)", true,
          s.id_names, held.train, {}, released);
  const index_type part = 3;
  const std::vector<std::string> part_names(s.id_names.begin(), s.id_names.begin() + part);
  run_one("negprompt-open", "NegPrompt, open vocabulary",
          "contexts learned on three of the five classes, bound to all five", true, part_names,
          first_classes(held.train, part), {}, o);
  return shown;
}

/// Largest cosine of every image to the positives and to the negatives (the paper's Fig. 3).
template <Backend B>
void similarities(stage<B>& s, demo_result& r, const detector_record& d) {
  for (std::size_t k = 0; k < s.sets.size(); ++k)
    for (const bool negative : {false, true}) {
      const auto& texts = negative ? d.negative : d.positive;
      similarity_list list{s.sets[k].name, negative ? "negative" : "positive", {}};
      const auto z = s.ctx.to_host(s.ctx.reduce_rows(
          reduction::maximum{}, s.ctx.matmul_nt(s.ctx.from_host(s.features[k].view()), s.ctx.from_host(texts.view()))));
      for (index_type i = 0; i < z.rows(); ++i) list.cosines.push_back(static_cast<double>(z(i, 0)));
      r.similarities.push_back(std::move(list));
    }
}

/// First two principal components of a sample of image features; texts are shown in the same plane. Each modality is
/// centred on its own mean, else the gap between images and texts is all one sees.
template <Backend B>
void map_features(stage<B>& s, demo_result& r, const detector_record& d) {
  using matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const index_type dim = s.id_text.cols();
  std::vector<std::pair<std::string, std::string>> tags;
  std::vector<std::span<const float>> images, texts;
  for (std::size_t k = 0; k < s.sets.size(); ++k) {
    const index_type shown = std::min<index_type>(k == 0 ? 200 : 80, s.sets[k].count);
    for (index_type i = 0; i < shown; ++i) {
      const index_type row = i * s.sets[k].count / shown;
      images.push_back(s.features[k].row(row));
      tags.emplace_back(s.sets[k].name, s.sets[k].truth.empty() ? "" : s.sets[k].truth[static_cast<std::size_t>(row)]);
    }
  }
  for (index_type c = 0; c < d.positive.rows(); ++c) {
    texts.push_back(d.positive.row(c));
    tags.emplace_back("positive text", s.id_names[static_cast<std::size_t>(c)]);
  }
  const index_type p = d.negative.rows() / d.positive.rows();
  for (index_type j = 0; j < d.negative.rows(); ++j) {
    texts.push_back(d.negative.row(j));
    tags.emplace_back("negative text", "not " + s.id_names[static_cast<std::size_t>(j / p)]);
  }
  const auto centred = [&](const std::vector<std::span<const float>>& rows) {
    matrix m(static_cast<index_type>(rows.size()), dim);
    for (std::size_t i = 0; i < rows.size(); ++i)
      for (index_type c = 0; c < dim; ++c)
        m(static_cast<index_type>(i), c) = static_cast<double>(rows[i][static_cast<std::size_t>(c)]);
    const Eigen::RowVectorXd mean = m.colwise().mean();
    m.rowwise() -= mean;
    return m;
  };
  const matrix image_rows = centred(images), text_rows = centred(texts);
  const Eigen::SelfAdjointEigenSolver<Eigen::MatrixXd> solver(image_rows.transpose() * image_rows);
  const Eigen::MatrixXd axes = solver.eigenvectors().rightCols(2);
  const Eigen::MatrixXd image_points = image_rows * axes, text_points = text_rows * axes;
  for (std::size_t i = 0; i < tags.size(); ++i) {
    const bool is_image = i < images.size();
    const auto row = static_cast<index_type>(is_image ? i : i - images.size());
    const auto& points = is_image ? image_points : text_points;
    r.map.push_back({points(row, 1), points(row, 0), tags[i].first, tags[i].second});
  }
}

/// Pictures at fixed places of every set: not chosen by what the detector says of them.
template <Backend B>
void examples(stage<B>& s, demo_result& r, detector<B>& d) {
  for (std::size_t k = 0; k < s.sets.size(); ++k)
    for (index_type j = 0; j < (k == 0 ? 6 : 4); ++j) {
      // + j: textures come in turns of four kinds
      const index_type i = std::min((2 * j + 1) * s.sets[k].count / (k == 0 ? 12 : 8) + j, s.sets[k].count - 1);
      host_matrix<float> one(1, s.features[k].cols());
      std::ranges::copy(s.features[k].row(i), one.row(0).begin());
      const auto a = d.decide(one);
      r.examples.push_back({s.sets[k].load(i), s.sets[k].name,
                            s.sets[k].truth.empty() ? "" : s.sets[k].truth[static_cast<std::size_t>(i)], a.label,
                            a.score, a.is_unknown});
    }
}

/// The learned methods' options as the report prints them.
std::map<std::string, std::string> option_texts(const negprompt_options& o) {
  const auto stage_text = [](const stage_options& how) {
    return std::to_string(how.epochs) + " epochs, batch " + std::to_string(how.batch) + ", SGD, rate " +
           format_number(how.learning_rate) + ", cosine schedule";
  };
  return {{"preset", "paper"},
          {"context", "learned from \"" + o.context_init + "\""},
          {"suffix", o.suffix},
          {"negatives a class", std::to_string(o.negatives)},
          {"beta (NPD)", format_number(o.npd_weight)},
          {"gamma (NND)", format_number(o.nnd_weight)},
          {"noise", format_number(o.noise)},
          {"stage 1 (positives)", stage_text(o.stage1)},
          {"stage 2 (negatives)", stage_text(o.stage2)}};
}

std::string today() {
  const std::time_t now = std::time(nullptr);
  char text[16];
  std::strftime(text, sizeof text, "%Y-%m-%d", std::gmtime(&now));
  return text;
}

}  // namespace

template <Backend B>
demo_result run_demo(B& ctx, const demo_options& o) {
  const auto begin = clock::now();
  report_progress(o, "loading the model", 0.0);
  auto s = prepare(ctx, o);
  demo_result r;
  r.model_fingerprint = s.model.fingerprint;
  r.created_by = "negood " NEGOOD_VERSION_STRING;
  r.date = today();
  r.backend = B::name();
  r.id_names = s.id_names;
  r.near_names = s.near_names;
  r.shots = shots;
  r.options = option_texts(learning_options(o.seed));
  r.options.merge(tuning_option_texts());
  r.held_back = "rows " + std::to_string(s.held_back_first) + " to " + std::to_string(s.held_back_last - 1) +
                " of the training file";
  for (const auto& set : s.sets) r.sets.push_back({set.name, set.description, set.near, set.count});

  report_progress(o, "encoding other styles", 0.33);
  const auto tuning = prepare_krnft(s);
  for (index_type k = 0; k < o.seeds; ++k) {
    const auto seed = o.seed + static_cast<std::uint64_t>(k);
    r.seeds.push_back(seed);
    const double base = 0.35 + 0.6 * static_cast<double>(k) / static_cast<double>(o.seeds);
    report_progress(o, "seed " + std::to_string(seed) + ": drawing images", base);
    const auto held = draw_held_back(s, seed);
    if (k == 0) r.few_shot_rows = held.rows;
    zero_shot(s, r, held.calibration, seed);
    run_krnft(s, *tuning, r, o, held, seed, k == 0, base);
    run_interneg(s, r, o, held, seed, k == 0, base);
    const auto prompts = learned(s, r, held, seed, k == 0, [&](double done) {
      report_progress(o, "seed " + std::to_string(seed) + ": learning prompts",
                      base + 0.6 / static_cast<double>(o.seeds) * done);
    });
    if (k == 0) {
      auto d = prompt_detector(s, *prompts, true);
      calibrate(d, held.calibration);
      similarities(s, r, d.record());
      map_features(s, r, d.record());
      examples(s, r, d);
      r.examples_method = "NegPrompt";
      std::filesystem::create_directories(o.out);
    }
  }
  r.seconds = seconds_since(begin);
  fill_findings(r);
  report_progress(o, "done", 1.0);
  return r;
}

#define NEGOOD_DEMO_RUN(B)                                                                              \
  template demo_result run_demo(B&, const demo_options&);                                               \
  template method_run measure(stage<B>&, detector<B>&, const host_matrix<float>&, bool, std::uint64_t); \
  template detector<B> text_detector(stage<B>&, std::string, const host_matrix<float>&, index_type);
NEGOOD_CLI_EACH_FLOAT_BACKEND(NEGOOD_DEMO_RUN)
#undef NEGOOD_DEMO_RUN

}  // namespace negood::demo
