// KR-NFT on every backend, against the reference in double: training of every kind of map, and scores of images under
// their own condition.
#include "algorithms.hpp"

#include <negood/krnft.hpp>

using namespace conformance;

namespace {

constexpr index_type classes = 6, negatives = 24, width = 20, images = 8, kept = 3;

struct problem {
  host_matrix<double> text = unit_rows(classes, width, 90), words = unit_rows(negatives, width, 91),
                      positives = unit_rows(images * kept, width, 92, 1),
                      outliers = unit_rows(images * kept, width, 93);
  std::vector<index_type> labels;
  problem() {
    for (index_type i = 0; i < images; ++i) labels.push_back(i * 5 % classes);
  }
};

template <class B>
krnft_fit<real_t<B>> fit(B& ctx, const problem& p, const feature_model& model, std::vector<double>& losses) {
  using real = real_t<B>;
  krnft_texts<real> texts{cast<real>(p.text), cast<real>(p.words)};
  texts.logit_scale = 10;
  const krnft_training_data<real> data{cast<real>(p.positives), cast<real>(p.outliers), p.labels};
  krnft_options o;
  o.model = model;
  o.hidden = 3;
  o.groups = 4;
  o.steps = 12;
  o.images = 2;
  // AdamW divides a gradient by its own size: where that is near zero, rounding decides the sign. SGD does not.
  o.optimizer = {.kind = optimizer_kind::sgd};
  o.learning_rate = 0.01;
  krnft_hooks<real> hooks;
  hooks.on_step = [&](const krnft_trace_row& r) { losses.push_back(r.loss); };
  return fit_krnft(ctx, texts, data, o, {}, hooks);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("algorithms agree with the reference: KR-NFT's steps and scores", "[conformance]",
                        algorithm_backends) {
  const problem p;
  const auto queries = unit_rows(40, width, 94, 1);
  const std::pair<const char*, feature_model> models[] = {
      {"kr_nft", feature_models::kr_nft}, {"nft", feature_models::nft}, {"task_res", feature_models::task_res}};
  for (const auto& map : models)
    compare<TestType>(map.first, 20 * TestType::allowed.product, [&](auto& c) {
      using real = real_t<std::remove_reference_t<decltype(c)>>;
      std::vector<double> losses;
      const auto learned = fit(c, p, map.second, losses);
      std::vector<host_matrix<double>> out;
      for (const auto& part : learned.features.parameters.parts)
        for_each_tensor(part, [&](const char*, const host_matrix<real>& m) { out.push_back(cast<double>(m)); });
      const auto steps = static_cast<index_type>(losses.size());
      out.emplace_back(steps, 1, std::move(losses));
      const auto scorer =
          learned.features.bind(c, cast<real>(p.text).view(), cast<real>(p.words).view(), {.groups = 4});
      auto scores = grouped_log_odds(scorer(c, cast<real>(queries).view()));
      const auto n = static_cast<index_type>(scores.size());
      out.emplace_back(n, 1, std::move(scores));
      return out;
    });
}
