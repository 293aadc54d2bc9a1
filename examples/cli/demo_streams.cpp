// InterNeg in the demonstration: words, memory, and what the memory does under other orders, mixtures and settings.
#include "demo_stage.hpp"

#include <negood/select/deviation_degree.hpp>
#include <negood/select/percentile.hpp>
#include <negood/stream/adaneg.hpp>
#include <negood/stream/clipscope.hpp>
#include <negood/stream/interneg.hpp>

#include <array>

namespace negood::demo {
namespace {

/// AUROC of a part of a stream; nothing where one side is missing.
double auroc_of(const std::vector<double>& scores, const std::vector<bool>& is_id, std::size_t first) {
  std::vector<double> id, ood;
  for (std::size_t i = first; i < scores.size(); ++i) (is_id[i] ? id : ood).push_back(scores[i]);
  const auto report = evaluate(std::span<const double>(id), std::span<const double>(ood));
  return report.values ? report.values->auroc : std::nan("");
}

/// InterNeg's memory over one stream of ID and OOD test images for every OOD set, drawn anew and forgotten after it
/// (the published protocol). Scores count as they were given, early and late ones together.
template <Backend B>
method_run interneg_streams(stage<B>& s, demo_result& r, std::uint64_t seed, bool traced,
                            const host_matrix<float>& negatives, const inter_modal_distances& distances,
                            const interneg_options& options, const host_matrix<float>& canaries) {
  method_run learned;
  learned.seed = seed;
  learned.threshold = options.beta;
  const auto begin = clock::now();
  const index_type id_images = s.features[0].rows();
  double accepted = 0;
  for (std::size_t k = 1; k < s.features.size(); ++k) {
    interneg_stream<B> memory(s.ctx, s.model.text, s.model.tokenizer,
                              make_prompt_bank(s.ctx, s.ctx.from_host(s.id_text.view()),
                                               s.ctx.from_host(negatives.view()), s.model.logit_scale),
                              distances, options, canaries);
    const index_type all = id_images + s.features[k].rows();
    const auto order = permutation(seed, random_purpose::stream, k, all);
    std::vector<double> scores, id, ood;
    std::vector<bool> is_id;
    stream_trace trace{s.sets[k].name, all, 0, 0, 0, {}, {}, {}, {}, {}};
    const index_type step = std::max<index_type>(1, all / 40);
    for (index_type at = 0; at < all; at += step) {
      const auto n = std::min(step, all - at);
      host_matrix<float> images(n, s.id_text.cols());
      std::vector<observation> who;
      for (index_type i = 0; i < n; ++i) {
        const auto place = order[static_cast<std::size_t>(at + i)];
        is_id.push_back(place < id_images);
        std::ranges::copy(place < id_images ? s.features[0].row(place) : s.features[k].row(place - id_images),
                          images.row(i).begin());
        who.push_back({static_cast<std::uint64_t>(at + i), 0});
      }
      for (const auto& a : memory.observe(std::move(images), who)) {
        (is_id[scores.size()] ? id : ood).push_back(a.score);
        scores.push_back(a.score);
        trace.considered += a.outcome == admission::not_considered ? 0 : 1;
        trace.admitted += a.outcome == admission::admitted ? 1 : 0;
        trace.refused_near_id += a.outcome == admission::refused_near_id ? 1 : 0;
      }
      trace.at.push_back(static_cast<double>(at + n));
      trace.memory.push_back(static_cast<double>(memory.memory().size()));
      trace.acceptance.push_back(static_cast<double>(trace.admitted) /
                                 static_cast<double>(std::max<index_type>(1, trace.considered)));
      trace.running.push_back(auroc_of(scores, is_id, 0));
      trace.window.push_back(auroc_of(scores, is_id, static_cast<std::size_t>(at)));
    }
    accepted += static_cast<double>(std::ranges::count_if(id, [&](double v) { return v >= options.beta; })) /
                static_cast<double>(id.size());
    learned.metrics.push_back(evaluate(std::span<const double>(id), std::span<const double>(ood)));
    if (traced) r.streams.push_back(std::move(trace));
  }
  learned.id_recall = accepted / static_cast<double>(s.features.size() - 1);
  learned.seconds = seconds_since(begin);
  return learned;
}

/// A detector without guards over the same streams as InterNeg's: `make` gives one that has seen nothing. Its threshold
/// accepts 95 % of a stream of held-back ID images.
template <Backend B, class Make>
method_run other_streams(stage<B>& s, std::uint64_t seed, const held_back& held, Make&& make) {
  const auto begin = clock::now();
  const auto scores_of = [&](host_matrix<float> images) {
    auto stream = make();
    std::vector<observation> who;
    for (index_type i = 0; i < images.rows(); ++i) who.push_back({static_cast<std::uint64_t>(i), 0});
    std::vector<double> out;
    for (const auto& a : stream.observe(std::move(images), who)) out.push_back(a.score);
    return out;
  };
  method_run run;
  run.seed = seed;
  run.threshold = calibrate_threshold(std::span<const double>(scores_of(held.calibration))).threshold;
  const index_type id_images = s.features[0].rows();
  double accepted = 0;
  for (std::size_t k = 1; k < s.features.size(); ++k) {
    const index_type all = id_images + s.features[k].rows();
    const auto order = permutation(seed, random_purpose::stream, k, all);
    host_matrix<float> images(all, s.id_text.cols());
    for (index_type i = 0; i < all; ++i) {
      const auto place = order[static_cast<std::size_t>(i)];
      std::ranges::copy(place < id_images ? s.features[0].row(place) : s.features[k].row(place - id_images),
                        images.row(i).begin());
    }
    const auto scores = scores_of(std::move(images));
    std::vector<double> id, ood;
    for (std::size_t i = 0; i < scores.size(); ++i) (order[i] < id_images ? id : ood).push_back(scores[i]);
    accepted += static_cast<double>(std::ranges::count_if(id, [&](double v) { return v >= run.threshold; })) /
                static_cast<double>(id.size());
    run.metrics.push_back(evaluate(std::span<const double>(id), std::span<const double>(ood)));
  }
  run.id_recall = accepted / static_cast<double>(s.features.size() - 1);
  run.seconds = seconds_since(begin);
  return run;
}

/// What InterNeg needs of a seed, with the words it chose.
struct interneg_parts {
  const held_back& held;
  host_matrix<float> negatives;
  inter_modal_distances distances;
  interneg_options options;  // beta: the threshold of the detector without memory
};

template <Backend B>
host_matrix<float> rows_of_words(const stage<B>& s, const std::vector<selected_word>& words) {
  host_matrix<float> out(static_cast<index_type>(words.size()), s.id_text.cols());
  for (std::size_t j = 0; j < words.size(); ++j)
    std::ranges::copy(s.word_features.row(words[j].index), out.row(static_cast<index_type>(j)).begin());
  return out;
}

template <Backend B>
prompt_bank<B> bank_of(stage<B>& s, const host_matrix<float>& negatives) {
  return make_prompt_bank(s.ctx, s.ctx.from_host(s.id_text.view()), s.ctx.from_host(negatives.view()),
                          s.model.logit_scale);
}

// ---- the study ---------------------------------------------------------------------------------------------------

/// An image of a stream: its set (0: ID) and its row.
struct place {
  std::size_t set;
  index_type row;
};

/// Every image of some sets, at most `most` of each, evenly spaced.
template <Backend B>
std::vector<place> pool(const stage<B>& s, const std::vector<std::size_t>& sets, index_type most) {
  std::vector<place> out;
  for (const auto k : sets) {
    const index_type all = s.features[k].rows(), n = std::min(all, most);
    for (index_type i = 0; i < n; ++i) out.push_back({k, i * all / n});
  }
  return out;
}

/// `n` places of a pool, drawn without putting back.
std::vector<place> draw(const std::vector<place>& from, index_type n, std::uint64_t seed, std::uint64_t index) {
  const auto order = permutation(seed, random_purpose::demonstration, index, static_cast<index_type>(from.size()));
  std::vector<place> out;
  for (index_type i = 0; i < std::min(n, static_cast<index_type>(from.size())); ++i)
    out.push_back(from[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])]);
  return out;
}

std::vector<place> mixed(std::vector<place> a, const std::vector<place>& b, std::uint64_t seed, std::uint64_t index) {
  a.insert(a.end(), b.begin(), b.end());
  return draw(a, static_cast<index_type>(a.size()), seed, index);
}

template <Backend B>
host_matrix<float> features_of(const stage<B>& s, std::span<const place> places) {
  host_matrix<float> out(static_cast<index_type>(places.size()), s.id_text.cols());
  for (std::size_t i = 0; i < places.size(); ++i)
    std::ranges::copy(s.features[places[i].set].row(places[i].row), out.row(static_cast<index_type>(i)).begin());
  return out;
}

/// What came of a stream's answers; ID images are those of set 0.
void measure_outcome(stream_outcome& out, std::span<const place> places, std::span<const stream_answer> answers,
                     double threshold) {
  std::vector<double> id, ood;
  index_type kept = 0;
  for (std::size_t i = 0; i < answers.size(); ++i) {
    (places[i].set == 0 ? id : ood).push_back(answers[i].log_odds);
    kept += places[i].set == 0 && answers[i].score >= threshold ? 1 : 0;
    out.inverted += answers[i].inversion_cosine != 0 ? 1 : 0;
    out.admitted += answers[i].outcome == admission::admitted ? 1 : 0;
  }
  out.id_images = static_cast<index_type>(id.size());
  out.ood_images = static_cast<index_type>(ood.size());
  const auto report = evaluate(std::span<const double>(id), std::span<const double>(ood));
  if (report.values) {
    out.auroc = report.values->auroc;
    out.fpr_id_positive = report.values->fpr[fpr_convention::id_positive_nearest];
    out.fpr_ood_positive = report.values->fpr[fpr_convention::ood_positive_first];
  }
  out.id_recall = static_cast<double>(kept) / static_cast<double>(std::max<std::size_t>(1, id.size()));
}

/// One stream from an empty memory; nothing is learned where `options.mode` is frozen.
template <Backend B>
stream_outcome run_stream(stage<B>& s, const interneg_parts& p, const host_matrix<float>& negatives,
                          const interneg_options& options, std::span<const place> places, stream_outcome out,
                          std::vector<stream_answer>* keep = nullptr) {
  const bool guarded = options.guards.canary_loss <= 1;
  interneg_stream<B> stream(s.ctx, s.model.text, s.model.tokenizer, bank_of(s, negatives), p.distances, options,
                            guarded ? p.held.canaries : host_matrix<float>());
  std::vector<observation> who;
  for (std::size_t i = 0; i < places.size(); ++i) who.push_back({i, 0});
  const auto answers = stream.observe(features_of(s, places), who);
  measure_outcome(out, places, answers, options.beta);
  out.memory = stream.memory().size();
  out.drifted = stream.drifted();
  if (keep != nullptr) *keep = answers;
  return out;
}

/// The three ways a stream is run: learning nothing, Algorithm 1, with every guard.
interneg_options frozen(interneg_options o) {
  o.mode = admission_mode::frozen;
  return o;
}
interneg_options guarded(interneg_options o) {
  o.guards = memory_guards::standard();
  o.guards.window_share = 0.25;  // streams of some two thousand images: a quarter of the memory every thousand
  o.guards.canary_loss = 0.02;
  return o;
}

template <Backend B>
void study_ablation(stage<B>& s, demo_result& r, const interneg_parts& p, std::uint64_t seed,
                    const std::vector<place>& known,
                    const std::vector<std::pair<std::string, std::vector<place>>>& ood) {
  const auto by_text = select_by_percentile(s.ctx, s.word_features.view(), s.words, s.id_text.view(), {.count = 1200});
  const auto intra = rows_of_words(s, by_text);
  auto unconditional = p.options;
  unconditional.guards.min_margin = -3;  // below every margin: what is inverted enters
  // A threshold of its own for the words chosen by text, as for those chosen by images.
  auto text_words = text_detector(s, "interneg", intra);
  auto frozen_text = frozen(p.options);
  frozen_text.beta = calibrate(text_words, p.held.calibration).threshold;
  for (std::size_t k = 0; k < ood.size(); ++k) {
    const auto places = mixed(known, ood[k].second, seed, 100 + k);
    const auto add = [&](const char* setting, const host_matrix<float>& negatives, const interneg_options& o) {
      r.study.push_back(run_stream(s, p, negatives, o, places, {"ablation", setting, ood[k].first, seed}));
    };
    add("words far from the class names (NegLabel's rule)", intra, frozen_text);
    add("words by deviation degree", p.negatives, frozen(p.options));
    add("and a memory of every inverted image", p.negatives, unconditional);
    add("and its condition (Algorithm 1)", p.negatives, p.options);
    add("and canaries and guards", p.negatives, guarded(p.options));
  }
}

template <Backend B>
void study_orders(stage<B>& s, demo_result& r, const interneg_parts& p, std::uint64_t seed,
                  const std::vector<place>& known, const std::vector<std::pair<std::string, std::vector<place>>>& ood) {
  for (std::uint64_t order = 1; order <= 5; ++order)
    for (std::size_t k = 0; k < ood.size(); ++k) {
      const auto places = mixed(known, ood[k].second, seed, 200 + 10 * order + k);
      const auto add = [&](const char* setting, const interneg_options& o) {
        r.study.push_back(run_stream(s, p, p.negatives, o, places, {"order", setting, ood[k].first, seed, order}));
      };
      add("without memory", frozen(p.options));
      add("Algorithm 1", p.options);
      add("with canaries and guards", guarded(p.options));
    }
}

template <Backend B>
void study_ratios(stage<B>& s, demo_result& r, const interneg_parts& p, std::uint64_t seed,
                  const std::vector<place>& known, const std::vector<place>& unknown) {
  constexpr std::array<std::pair<index_type, index_type>, 5> ratios{
      {{10, 1000}, {100, 1000}, {500, 500}, {1000, 100}, {1000, 10}}};
  for (const auto& [n, m] : ratios) {
    const std::string name = n >= m ? std::to_string(n / m) + ":1" : "1:" + std::to_string(m / n);
    for (std::uint64_t order = 1; order <= 5; ++order) {
      const auto index = 300 + 10 * order + static_cast<std::uint64_t>(n);
      const auto places = mixed(draw(known, n, seed, 2 * index), draw(unknown, m, seed, 2 * index + 1), seed, index);
      const auto add = [&](const char* setting, const interneg_options& o) {
        r.study.push_back(run_stream(s, p, p.negatives, o, places, {"ratio", setting, name, seed, order}));
      };
      add("without memory", frozen(p.options));
      add("Algorithm 1", p.options);
      add("with canaries and guards", guarded(p.options));
    }
  }
}

/// Eighty ways to name a picture, in place of CLIP's own list.
std::vector<std::string> eighty_templates() {
  std::vector<std::string> out;
  for (const char* kind : {"photo", "picture"})
    for (const char* look :
         {"", "bad ", "good ", "dark ", "bright ", "blurry ", "cropped ", "large ", "small ", "clean "})
      for (const char* which : {"a", "the", "one", "my"})
        out.push_back("a " + std::string(look) + kind + " of " + which + " {}.");
  return out;
}

template <Backend B>
void study_inversion(stage<B>& s, demo_result& r, const interneg_parts& p, std::uint64_t seed,
                     const std::vector<place>& known,
                     const std::vector<std::pair<std::string, std::vector<place>>>& ood) {
  for (std::size_t k = 0; k < ood.size(); ++k) {
    const auto places = mixed(draw(known, 400, seed, 400 + k), draw(ood[k].second, 400, seed, 410 + k), seed, 420 + k);
    const auto add = [&](const char* setting, index_type steps, std::vector<std::string> templates) {
      for (const bool safe : {false, true}) {
        auto o = safe ? guarded(p.options) : p.options;
        o.inversion.steps = steps;
        if (!templates.empty()) o.inversion.templates = templates;
        std::vector<stream_answer> answers;
        auto out =
            run_stream(s, p, p.negatives, o, places,
                       {"inversion", std::string(setting) + (safe ? ", guarded" : ""), ood[k].first, seed}, &answers);
        double cosine = 0;
        for (const auto& a : answers) cosine += a.inversion_cosine;
        out.inversion_cosine = cosine / static_cast<double>(std::max<index_type>(1, out.inverted));
        r.study.push_back(std::move(out));
      }
    };
    add("10 steps, one template", 10, {});
    add("50 steps, one template", 50, {});
    add("150 steps, one template", 150, {});
    add("10 steps, 80 templates", 10, eighty_templates());
  }
}

/// The sets one after the other: a memory emptied before each, and one that goes on.
template <Backend B>
void study_protocols(stage<B>& s, demo_result& r, const interneg_parts& p, std::uint64_t seed,
                     const std::vector<place>& known) {
  const auto sets = static_cast<index_type>(s.features.size()) - 1;
  const auto shuffled = draw(known, static_cast<index_type>(known.size()), seed, 500);
  std::vector<std::vector<place>> parts;
  std::vector<place> whole;
  for (index_type k = 0; k < sets; ++k) {
    const auto n = static_cast<index_type>(shuffled.size());
    const std::vector<place> mine(shuffled.begin() + k * n / sets, shuffled.begin() + (k + 1) * n / sets);
    parts.push_back(
        mixed(mine, pool(s, {static_cast<std::size_t>(k + 1)}, 400), seed, 510 + static_cast<std::uint64_t>(k)));
    whole.insert(whole.end(), parts.back().begin(), parts.back().end());
  }
  for (const bool safe : {false, true}) {
    const auto o = safe ? guarded(p.options) : p.options;
    const std::string name = safe ? "with canaries and guards" : "Algorithm 1";
    std::vector<stream_answer> all;
    run_stream(s, p, p.negatives, o, whole, {}, &all);
    std::size_t at = 0;
    for (std::size_t k = 0; k < parts.size(); ++k) {
      r.study.push_back(run_stream(s, p, p.negatives, o, parts[k],
                                   {"protocol", name + ", emptied before each set", s.sets[k + 1].name, seed}));
      stream_outcome out{"protocol", name + ", going on", s.sets[k + 1].name, seed};
      measure_outcome(out, parts[k], std::span(all).subspan(at, parts[k].size()), o.beta);
      r.study.push_back(std::move(out));
      at += parts[k].size();
    }
  }
}

template <Backend B>
void study(stage<B>& s, demo_result& r, const interneg_parts& p, std::uint64_t seed, bool first) {
  std::vector<std::size_t> near, far, all;
  for (std::size_t k = 1; k < s.sets.size(); ++k) {
    (s.sets[k].near ? near : far).push_back(k);
    all.push_back(k);
  }
  const auto known = pool(s, {0}, 1000);
  const std::vector<std::pair<std::string, std::vector<place>>> ood{{"near", pool(s, near, 500)},
                                                                    {"far", pool(s, far, 400)}};
  study_ablation(s, r, p, seed, known, ood);
  study_protocols(s, r, p, seed, known);
  if (!first) return;
  study_orders(s, r, p, seed, known, ood);
  study_ratios(s, r, p, seed, known, pool(s, all, 1000));
  study_inversion(s, r, p, seed, known, ood);
}

}  // namespace

template <Backend B>
void run_interneg(stage<B>& s, demo_result& r, const demo_options& o, const held_back& held, std::uint64_t seed,
                  bool first, double done) {
  report_progress(o, "seed " + std::to_string(seed) + ": streams", done);
  const auto classes = static_cast<index_type>(s.id_names.size());
  const auto proxies = class_proxies(held.train.features, held.train.labels, classes);
  const inter_modal_distances distances(s.id_text.view(), proxies.view());
  const auto selected = select_by_deviation(s.ctx, s.word_features.view(), s.words, distances,
                                            {.count = 1200, .tags = std::span<const std::string>(s.word_tags)});
  interneg_parts p{held, rows_of_words(s, selected.words), distances, {}};
  auto record = text_detector(s, "interneg", p.negatives).record();
  record.proxies = proxies;
  detector<B> fixed(s.ctx, std::move(record));
  auto run = measure(s, fixed, held.calibration, first, seed);
  p.options.beta = run.threshold;
  p.options.inversion.seed = seed;
  const double accuracy_of_id = run.id_accuracy;
  method(r, "interneg", "InterNeg, words alone", "class names against 1,200 words chosen by deviation degree", false)
      .runs.push_back(std::move(run));
  const auto add = [&](const char* name, const char* title, const char* text, bool safe) {
    auto options = p.options;
    if (safe) options.guards.canary_loss = 0.02;
    auto one = interneg_streams(s, r, seed, first && !safe, p.negatives, distances, options,
                                safe ? held.canaries : host_matrix<float>());
    one.id_accuracy = accuracy_of_id;
    method(r, name, title, text, false).runs.push_back(std::move(one));
  };
  add("interneg-stream", "InterNeg, memory",
      "the same with a memory of inverted test images (Algorithm 1); every OOD set is a stream of its own", false);
  add("interneg-guarded", "InterNeg, guarded memory",
      "the same memory, refusing what would turn more than 2 % of 200 held-back ID images into unknown ones", true);
  const auto add_other = [&](const char* name, const char* title, const char* text, auto&& make) {
    auto one = other_streams(s, seed, held, make);
    one.id_accuracy = accuracy_of_id;
    method(r, name, title, text, false).runs.push_back(std::move(one));
  };
  const auto by_text =
      rows_of_words(s, select_by_percentile(s.ctx, s.word_features.view(), s.words, s.id_text.view(), {.count = 1200}));
  add_other("adaneg", "AdaNeg", "NegLabel's words, and for each label the test images that showed it best",
            [&] { return adaneg_stream<B>(s.ctx, bank_of(s, by_text)); });
  add_other("clipscope", "CLIPScope's counts",
            "NegLabel's words; the probability of the nearest class over how often that class was predicted so far",
            [&] { return clipscope_stream<B>(s.ctx, bank_of(s, by_text)); });
  study(s, r, p, seed, first);
}

#define NEGOOD_DEMO_STREAMS(B)                                                                                    \
  template void run_interneg(stage<B>&, demo_result&, const demo_options&, const held_back&, std::uint64_t, bool, \
                             double);
NEGOOD_CLI_EACH_FLOAT_BACKEND(NEGOOD_DEMO_STREAMS)
#undef NEGOOD_DEMO_STREAMS

}  // namespace negood::demo
