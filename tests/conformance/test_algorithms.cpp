// What is built of the members, on every backend, against the reference in double: losses, scores and the metrics of
// scores, selection, a step of NegPrompt.
#include "algorithms.hpp"

#include <negood/loss/multilabel.hpp>
#include <negood/loss/nis.hpp>
#include <negood/loss/nnd.hpp>
#include <negood/loss/npd.hpp>
#include <negood/metric/evaluate.hpp>
#include <negood/prompt/fit_negprompt.hpp>
#include <negood/score/scores.hpp>
#include <negood/select/deviation_degree.hpp>
#include <negood/select/percentile.hpp>

using namespace conformance;

namespace {

std::vector<std::string> numbered(index_type n) {
  std::vector<std::string> out;
  for (index_type i = 0; i < n; ++i) out.push_back("word " + std::to_string(i * 7919 % n));
  return out;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("algorithms agree with the reference: losses and their gradients", "[conformance]",
                        algorithm_backends) {
  constexpr index_type classes = 5, p = 3, batch = 12, width = 33;
  const double scale = 10, allowed = 20 * TestType::allowed.product;
  const auto images = unit_rows(batch, width, 70), positive = unit_rows(classes, width, 71),
             negative = unit_rows(classes * p, width, 72);
  std::vector<index_type> labels;
  std::vector<std::vector<index_type>> targets;
  for (index_type b = 0; b < batch; ++b) {
    labels.push_back((b * 7 + 1) % classes);
    targets.push_back({labels.back(), classes - 1});
  }
  using list = std::vector<host_matrix<double>>;
  const auto both = [](auto& c, const auto& loss) { return list{download(c, loss.value), download(c, loss.gradient)}; };
  compare<TestType>("cross_entropy", allowed, [&](auto& c) {
    return both(c, cross_entropy(c, upload(c, images), upload(c, positive), labels, scale));
  });
  compare<TestType>("nis", allowed,
                    [&](auto& c) { return both(c, nis(c, upload(c, images), upload(c, negative), scale)); });
  for (const auto form : {nnd_form::pairwise, nnd_form::mean_norm})
    compare<TestType>("nnd", allowed, [&](auto& c) { return both(c, nnd(c, upload(c, negative), p, form)); });
  compare<TestType>("npd", allowed, [&](auto& c) {
    const auto loss = npd(c, upload(c, positive), upload(c, negative), p);
    return list{download(c, loss.value), download(c, loss.d_negative), download(c, loss.d_positive)};
  });
  compare<TestType>("multilabel", allowed, [&](auto& c) {
    return both(c, multilabel(c, upload(c, images), upload(c, positive), targets, scale));
  });
}

TEMPLATE_LIST_TEST_CASE("algorithms agree with the reference: scores, and metrics of scores", "[conformance]",
                        algorithm_backends) {
  constexpr index_type width = 48, images = 150;
  const auto positive = unit_rows(20, width, 73, 2), negative = unit_rows(90, width, 74),
             known = unit_rows(images, width, 75, 2), unknown = unit_rows(images, width, 76);
  // Backends agree to 2e-6 in a score of cosines; a logit is `scale` times as large.
  const double scale = 20, unit = TestType::allowed.product <= 1e-5 ? 2e-6 : TestType::allowed.product;
  const auto run = [&](const char* item, double allowed, const auto& score, index_type groups) {
    std::vector<double> auroc;
    compare<TestType>(item, allowed, [&](auto& c) {
      const auto bank = make_prompt_bank(c, upload(c, positive), upload(c, negative), scale, groups);
      const auto id = download(c, score(c, upload(c, known), bank)),
                 ood = download(c, score(c, upload(c, unknown), bank));
      const auto report = evaluate(std::span<const double>(id.values()), std::span<const double>(ood.values()));
      auroc.push_back(report.values->auroc);
      return std::vector<host_matrix<double>>{id, ood};
    });
    INFO(TestType::name << ": AUROC of " << item);
    CHECK((auroc[1] > 0.01 && auroc[1] < 0.99));  // the sets overlap: there is an order to get wrong
    // An error in a score can swap two images whose scores are nearer than it; there are 22,500 pairs here.
    CHECK(std::abs(auroc[0] - auroc[1]) <= (unit <= 1e-5 ? 1e-4 : 1e-2));
    table::instance().add(std::string(item) + " auroc", TestType::name, std::abs(auroc[0] - auroc[1]));
  };
  run("max_cosine", unit, max_cosine{}, 1);
  run("mcm", unit, mcm{}, 1);
  run("msp", scale * unit, msp{}, 1);
  run("energy", scale * unit, energy{}, 1);
  run("mcm_with_negatives", unit, mcm_with_negatives{}, 1);
  run("neg_label", 4 * scale * unit, neg_label{}, 1);
  run("neg_label, groups", 4 * scale * unit, neg_label{}, 4);
  run("eoe", unit, eoe{}, 1);
  run("clipscope_score", scale * unit, clipscope_score{}, 1);
}

TEMPLATE_LIST_TEST_CASE("algorithms agree with the reference: the selected words and their order", "[conformance]",
                        algorithm_backends) {
  auto ctx = TestType::make(2);
  oracle exact;
  constexpr index_type width = 37, classes = 23, n = 900;
  const auto y = cast<float>(unit_rows(n, width, 80, 1)), e = cast<float>(unit_rows(classes, width, 81, 6)),
             p = cast<float>(unit_rows(classes, width, 82, 6));
  const auto words = numbered(n);
  for (const index_type count : {1, 40, 300}) {
    const percentile_options o{.count = count};
    // In parentheses: glog, which LibTorch includes, prints any vector and fails on this one.
    CHECK((select_by_percentile(ctx, y.view(), words, e.view(), o) ==
           select_by_percentile(y.view(), words, e.view(), o)));
    const inter_modal_distances distances(e.view(), p.view());
    const auto got = select_by_deviation(ctx, y.view(), words, distances, {.count = count});
    const auto wanted = select_by_deviation(exact, y.view(), words, distances, {.count = count});
    CHECK(wanted.words.size() == static_cast<std::size_t>(count));
    CHECK((got.words == wanted.words));
  }
}

TEMPLATE_LIST_TEST_CASE("algorithms agree with the reference: NegPrompt's steps", "[conformance]", algorithm_backends) {
  const std::vector<std::string> names{"ab", "cd_ef", "xyz"};
  const auto features = unit_rows(12, 8, 83);
  const auto fit = [&](auto& c) {
    using B = std::remove_reference_t<decltype(c)>;
    const auto tower = small_tower(c);
    training_features<real_t<B>> train;
    train.features = c.to_host(normalise_rows(c, upload(c, features)).unit);
    for (index_type i = 0; i < 12; ++i) train.labels.push_back(i % 3);
    negprompt_options o;
    o.context_length = 3;
    o.stage1 = {.epochs = 1, .batch = 4, .learning_rate = 0.02};
    o.stage2 = {.epochs = 1, .batch = 4, .learning_rate = 0.02};
    std::vector<double> losses;
    training_hooks<real_t<B>> hooks;
    hooks.on_step = [&](const trace_row& r) { losses.push_back(r.loss); };
    const auto prompts = fit_negprompt(c, tower, tokenizer(), 10.0, names, train, o, {}, hooks).prompts;
    const auto steps = static_cast<index_type>(losses.size());
    return std::vector<host_matrix<double>>{cast<double>(prompts.positive), cast<double>(prompts.negative),
                                            host_matrix<double>(steps, 1, std::move(losses))};
  };
  compare<TestType>("negprompt", 20 * TestType::allowed.product, fit);
}
