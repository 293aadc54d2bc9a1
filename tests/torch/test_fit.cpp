// The training loop on LibTorch's optimisers: that it runs, and that it is the library's own loop up to rounding.
#include <negood/backend/torch.hpp>
#include <negood/backend/torch/optim.hpp>
#include <negood/prompt/fit_negprompt.hpp>

#include <cmath>
#include <optional>

#include "catch.hpp"
#include "clip/towers.hpp"
#include "code_of.hpp"

using namespace negood;
namespace {

using plain = libtorch::context<double>;
using optim = libtorch::optim_context<double>;

static_assert(check_backend<optim>());
static_assert(overrides<optim, training_loop_t> && !overrides<plain, training_loop_t>);
static_assert(overrides<optim, attention_t>);

constexpr double allowed = 1e-10;

/// |w - target|^2 / 2 in `steps` steps; notes where w lies in memory.
template <class B>
struct distance_to_target {
  B& ctx;
  tensor_t<B> target;
  learned_tensor<B> parameter;
  optimizer_options options;
  index_type steps, step = 0;
  std::vector<const double*> where{};
  std::vector<index_type> updates{};

  bool more() const { return step < steps; }
  std::vector<learned_tensor<B>*> parameters() { return {&parameter}; }
  const optimizer_options& optimizer() const { return options; }
  double rate() const { return 0.5 / static_cast<double>(1 + step); }
  std::vector<tensor_t<B>> gradients() {
    std::vector<tensor_t<B>> out;
    out.push_back(ctx.map(element::subtract{}, parameter.value, target));
    return out;
  }
  bool finish_step() {
    ++step;
    where.push_back(parameter.value.data());
    updates.push_back(parameter.optimizer.step);
    return step != 4;
  }
};
template <class B>
distance_to_target<B> toward(B& ctx, optimizer_kind kind, index_type steps) {
  auto start = ctx.zeros(2, 2);
  auto memory = new_optimizer_state(ctx, start);
  return {ctx,
          ctx.from_host(host_matrix<double>(2, 2, std::vector<double>{1, -2, 3, 0.5}).view()),
          {std::move(start), std::move(memory)},
          {.kind = kind},
          steps};
}

const std::vector<std::string> names{"ab", "cd_ef", "xyz"};
const bpe_tokenizer& tokenizer() {
  static const auto t = bpe_tokenizer::from_merges("#version: 0.2\na b\nc d</w>\n");
  return t;
}

template <class B>
struct setup {
  B ctx;
  clip::text_tower<B> tower;
  training_features<double> train;

  explicit setup(bool kernels = true)
      : ctx({.kernels = kernels}),
        tower(towers::random_text_tower(ctx,
                                        {.width = 16,
                                         .heads = 2,
                                         .layers = 2,
                                         .context_length = 32,
                                         .vocabulary = tokenizer().vocabulary_size(),
                                         .embedding = 8},
                                        5)) {
    train.features = host_matrix<double>(12, 8);
    random_sequence draw(3, random_purpose::test, 0);
    for (auto& v : train.features.values()) v = draw.next_normal();
    train.features = ctx.to_host(normalise_rows(ctx, ctx.from_host(train.features.view())).unit);
    for (index_type i = 0; i < 12; ++i) train.labels.push_back(i % 3);
  }
  auto fit(const negprompt_options& o, const training_start<double>& start = {},
           const training_hooks<double>& hooks = {}) {
    return fit_negprompt(ctx, tower, tokenizer(), 20.0, names, train, o, start, hooks);
  }
};

negprompt_options small(optimizer_kind kind) {
  negprompt_options o;
  o.context_length = 3;
  o.stage1 = {.epochs = 4, .batch = 4, .learning_rate = 0.05, .optimizer = {.kind = kind}};
  o.stage2 = o.stage1;
  return o;
}

struct recorded {
  std::vector<trace_row> rows;
  std::vector<training_checkpoint<double>> checkpoints;
  negprompt_fit<double> fit;
};
template <class B>
recorded record(setup<B>& s, const negprompt_options& o) {
  recorded out;
  training_hooks<double> hooks;
  hooks.on_step = [&](const trace_row& r) { out.rows.push_back(r); };
  hooks.on_checkpoint = [&](const training_checkpoint<double>& c) { out.checkpoints.push_back(c); };
  hooks.checkpoint_every = 1;
  out.fit = s.fit(o, {}, hooks);
  return out;
}

}  // namespace

TEST_CASE("the loop that LibTorch moves runs, in place, and stops where the objective says") {
  for (const auto kind : {optimizer_kind::sgd, optimizer_kind::adamw}) {
    optim a;
    plain b;
    auto there = toward(a, kind, 3);
    auto here = toward(b, kind, 3);
    const double* const start = there.parameter.value.data();
    CHECK(training_loop(a, there));
    CHECK(training_loop(b, here));
    CHECK(there.where == std::vector<const double*>(3, start));
    CHECK(there.updates == std::vector<index_type>{1, 2, 3});
    CHECK(!there.parameter.value.torch().requires_grad());
    CHECK(towers::difference(a.to_host(there.parameter.value), b.to_host(here.parameter.value)) <= 1e-14);
    CHECK(towers::difference(a.to_host(there.parameter.optimizer.first), b.to_host(here.parameter.optimizer.first)) <=
          1e-14);
    there.steps = 10;
    CHECK(!training_loop(a, there));
    CHECK(there.step == 4);
  }
}

TEST_CASE("it is LibTorch's optimiser that ran: without momentum it keeps no velocity, the library's does") {
  optim a;
  plain b;
  auto there = toward(a, optimizer_kind::sgd, 2);
  auto here = toward(b, optimizer_kind::sgd, 2);
  there.options.momentum = here.options.momentum = 0;
  CHECK(training_loop(a, there));
  CHECK(training_loop(b, here));
  CHECK(towers::difference(a.to_host(there.parameter.value), b.to_host(here.parameter.value)) <= 1e-14);
  CHECK(a.to_host(there.parameter.optimizer.first)(0, 0) == 0);
  CHECK(b.to_host(here.parameter.optimizer.first)(0, 0) != 0);
}

TEST_CASE("fit on LibTorch's optimisers: steps, checkpoints and prompts of the library's own loop") {
  for (const bool kernels : {true, false}) {
    setup<plain> library(kernels);
    setup<optim> torch(kernels);
    for (const auto kind : {optimizer_kind::sgd, optimizer_kind::adamw})
      for (const bool one_stage : {false, true}) {
        auto o = small(kind);
        o.one_stage = one_stage;
        o.scope = kernels ? context_scope::shared : context_scope::class_specific;
        CAPTURE(kernels, one_stage, static_cast<int>(kind));
        const auto wanted = record(library, o), got = record(torch, o);
        REQUIRE(got.rows.size() == wanted.rows.size());
        REQUIRE(got.rows.size() == (one_stage ? 12 : 24));
        double worst = 0;
        for (std::size_t i = 0; i < got.rows.size(); ++i) {
          const auto &g = got.rows[i], &w = wanted.rows[i];
          CHECK(g.rate == w.rate);
          CHECK(g.stage == w.stage);
          for (const double d : {g.loss - w.loss, g.gradient_norm - w.gradient_norm, g.mean_cosine - w.mean_cosine})
            worst = std::max(worst, std::abs(d));
        }
        CHECK(worst <= allowed);
        CHECK(got.rows.front().loss != got.rows.back().loss);
        CHECK(towers::difference(got.fit.prompts.positive, wanted.fit.prompts.positive) <= allowed);
        CHECK(towers::difference(got.fit.prompts.negative, wanted.fit.prompts.negative) <= allowed);
        REQUIRE(got.checkpoints.size() == wanted.checkpoints.size());
        const auto &g = got.checkpoints.back(), &w = wanted.checkpoints.back();
        CHECK(g.optimizer_steps == w.optimizer_steps);
        CHECK(towers::difference(g.negative_first, w.negative_first) <= allowed);
        CHECK(towers::difference(g.negative_second, w.negative_second) <= allowed);
        CHECK(towers::difference(g.positive_first, w.positive_first) <= allowed);
      }
  }
}

TEST_CASE("F-35 on LibTorch's optimisers: stopped at any step and resumed, the bytes of the uninterrupted run") {
  setup<optim> s;
  for (const auto kind : {optimizer_kind::sgd, optimizer_kind::adamw}) {
    auto o = small(kind);
    o.stage1.epochs = o.stage2.epochs = 1;
    const auto whole = s.fit(o).prompts;
    for (index_type stop_at = 1; stop_at <= 6; ++stop_at) {
      index_type seen = 0;
      std::optional<training_checkpoint<double>> saved;
      training_hooks<double> hooks;
      hooks.on_checkpoint = [&](const training_checkpoint<double>& c) { saved = c; };
      hooks.stop = [&] { return ++seen == stop_at; };
      CHECK(code_of([&] { s.fit(o, {}, hooks); }) == "negood.train.2");
      REQUIRE(saved);
      training_start<double> start;
      start.resume = saved;
      const auto resumed = s.fit(o, start).prompts;
      CHECK(resumed.positive == whole.positive);
      CHECK(resumed.negative == whole.negative);
    }
  }
}

TEST_CASE("a checkpoint of one loop goes on in the other") {
  setup<plain> library;
  setup<optim> torch;
  const auto o = small(optimizer_kind::adamw);
  const auto whole = record(library, o);
  training_start<double> start;
  start.resume = whole.checkpoints[5];
  CHECK(towers::difference(torch.fit(o, start).prompts.negative, whole.fit.prompts.negative) <= allowed);
}

TEST_CASE("a run on LibTorch's optimisers that leaves the finite numbers is an outcome") {
  setup<optim> s;
  auto o = small(optimizer_kind::sgd);
  o.stage1.learning_rate = 1e300;
  o.stage1.schedule = schedule_kind::constant;
  CHECK(s.fit(o).outcome == fit_outcome::diverged);
}
