// NegPrompt's training: what it must do on any tower, on a tiny random one.
#include "catch.hpp"
#include "code_of.hpp"

#include "clip/towers.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/prompt/fit_negprompt.hpp>

using namespace negood;
namespace {

using towers::random_text_tower;

const std::vector<std::string> names{"ab", "cd_ef", "xyz"};

const bpe_tokenizer& tokenizer() {
  static const auto t = bpe_tokenizer::from_merges("#version: 0.2\na b\nc d</w>\n");
  return t;
}

template <class B>
struct setup {
  B ctx;
  clip::text_tower<B> tower;
  training_features<real_t<B>> train;

  explicit setup(B c = {})
      : ctx(std::move(c)),
        tower(random_text_tower(ctx,
                                {.width = 16,
                                 .heads = 2,
                                 .layers = 3,
                                 .context_length = 32,
                                 .vocabulary = tokenizer().vocabulary_size(),
                                 .embedding = 8},
                                5)) {
    tower.fingerprint = "tower-5";
    train.features = host_matrix<real_t<B>>(12, 8);
    random_sequence draw(3, random_purpose::test, 0);
    for (auto& v : train.features.values()) v = static_cast<real_t<B>>(draw.next_normal());
    train.features = ctx.to_host(normalise_rows(ctx, ctx.from_host(train.features.view())).unit);
    for (index_type i = 0; i < 12; ++i) train.labels.push_back(i % 3);
  }
  auto fit(const negprompt_options& o, const training_start<real_t<B>>& start = {},
           const training_hooks<real_t<B>>& hooks = {}) {
    return fit_negprompt(ctx, tower, tokenizer(), 20.0, names, train, o, start, hooks);
  }
};

negprompt_options small() {
  negprompt_options o;
  o.context_length = 3;
  o.stage1 = {.epochs = 6, .batch = 4, .learning_rate = 0.05};
  o.stage2 = {.epochs = 4, .batch = 4, .learning_rate = 0.05};
  return o;
}

template <class R>
std::vector<trace_row> trace_of(setup<R>& s, const negprompt_options& o) {
  std::vector<trace_row> rows;
  training_hooks<real_t<R>> hooks;
  hooks.on_step = [&](const trace_row& r) { rows.push_back(r); };
  s.fit(o, {}, hooks);
  return rows;
}

using reference_double = reference::context<double>;

}  // namespace

TEST_CASE("a step follows the gradient of the total loss, for every scope and variant") {
  // One plain SGD step of rate r moves the contexts by -r g; g is compared with central differences of the traced loss.
  setup<reference_double> s;
  for (const auto scope : {context_scope::shared, context_scope::class_specific})
    for (const auto nis : {nis_scope::negatives, nis_scope::all, nis_scope::multilabel})
      for (const bool one_stage : {false, true}) {
        auto o = small();
        o.scope = scope;
        o.nis = nis;
        o.one_stage = one_stage;
        o.shuffle = false;
        o.noise = 0.05;
        o.nnd = nis == nis_scope::all ? nnd_form::mean_norm : nnd_form::pairwise;
        o.stage1.epochs = 0;
        o.stage2 = {.steps = 1,
                    .batch = 12,
                    .learning_rate = 1.0,
                    .optimizer = {.momentum = 0, .weight_decay = 0},
                    .schedule = schedule_kind::constant};
        const index_type sets = scope == context_scope::class_specific ? 3 : 1;
        auto positive = detail::initial_context(s.ctx, s.tower, {}, 3, sets, 1);
        for (auto& v : positive.values()) v *= 20;
        auto negative = detail::copied_negatives(positive, 3, 2, 0.3, 1);
        const auto loss_at = [&](const host_matrix<double>& p, const host_matrix<double>& n) {
          double loss = 0;
          training_hooks<double> hooks;
          hooks.on_step = [&](const trace_row& r) { loss = r.loss; };
          training_start<double> start;
          if (scope == context_scope::shared) o.context_length = 3;
          start.positive = p;
          start.negative = n;
          s.fit(o, start, hooks);
          return loss;
        };
        training_start<double> start;
        start.positive = positive;
        start.negative = negative;
        const auto moved = s.fit(o, start).prompts;
        const auto check = [&](host_matrix<double>& parameter, const host_matrix<double>& after) {
          for (index_type i = 0; i < parameter.size(); i += 7) {
            const double kept = parameter.data()[i], h = 1e-5;
            parameter.data()[i] = kept + h;
            const double above = loss_at(positive, negative);
            parameter.data()[i] = kept - h;
            const double below = loss_at(positive, negative);
            parameter.data()[i] = kept;
            CHECK(kept - after.data()[i] == Approx((above - below) / (2 * h)).epsilon(1e-5).margin(1e-8));
          }
        };
        check(negative, moved.negative);
        if (one_stage) check(positive, moved.positive);
        if (!one_stage) CHECK(moved.positive == positive);
      }
}

TEST_CASE("stage 1 lowers the cross-entropy") {
  setup<reference_double> s;
  auto o = small();
  o.stage1.epochs = 40;
  o.stage2.epochs = 0;
  const auto rows = trace_of(s, o);
  CHECK(rows.back().cross_entropy < 0.9 * rows.front().cross_entropy);
}

TEST_CASE("CoOp's schedule: warm-up epoch, then a cosine that does not reach zero; and the released one") {
  CHECK(learning_rate(schedule_kind::cosine, 0.002, {0, 50, 0}) == 1e-5);
  CHECK(learning_rate(schedule_kind::cosine, 0.002, {1, 50, 10}) == Approx(0.002));
  CHECK(learning_rate(schedule_kind::cosine, 0.002, {49, 50, 490}) ==
        Approx(0.001 * (1 + std::cos(3.14159265358979 * 48 / 50))));
  CHECK(learning_rate(schedule_kind::released, 0.1, {0, 1, 50}) == Approx(0).margin(1e-12));
  CHECK(learning_rate(schedule_kind::released, 0.1, {1, 2, 99}) == Approx(0.1));
  double mean = 0;
  for (index_type t = 0; t < 1000; ++t) mean += learning_rate(schedule_kind::released, 0.1, {0, 1, t}) / 1000;
  CHECK(mean == Approx(0.05).epsilon(1e-6));
}

TEST_CASE("the same run gives the same bytes on any number of threads, with any memory budget, and again") {
  auto o = small();
  setup<eigen::context<float>> one(eigen::context<float>({.threads = 1}));
  const auto expected = one.fit(o).prompts;
  for (const index_type threads : {1, 2, 4}) {
    setup<eigen::context<float>> s(eigen::context<float>({.threads = threads}));
    o.memory_budget = threads == 2 ? 0 : std::size_t{1} << 30;
    const auto got = s.fit(o).prompts;
    CHECK(got.positive == expected.positive);
    CHECK(got.negative == expected.negative);
  }
}

TEST_CASE("F-35 stopped at any step and resumed gives the bytes of the uninterrupted run") {
  setup<reference_double> s;
  for (const auto kind : {optimizer_kind::sgd, optimizer_kind::adamw}) {
    auto o = small();
    o.stage1.optimizer.kind = o.stage2.optimizer.kind = kind;
    o.stage1.epochs = o.stage2.epochs = 2;
    const auto whole = s.fit(o).prompts;
    const index_type steps = 6;  // a stage
    for (index_type stop_at = 1; stop_at <= 2 * steps; ++stop_at) {
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

TEST_CASE("equal negatives stay equal for ever: the symmetry is reported, and refused by default") {
  setup<reference_double> s;
  auto o = small();
  o.noise = 0;
  CHECK(code_of([&] { s.fit(o); }) == "negood.train.1");
  training_start<double> start;
  start.positive = detail::initial_context(s.ctx, s.tower, {}, 3, 1, 1);
  o.stage1.epochs = 0;
  const auto fit = s.fit(o, start);
  CHECK(fit.final_mean_cosine == Approx(1.0).epsilon(1e-12));
  CHECK(fit.prompts.positive == *start.positive);
  for (index_type r = 0; r < 3; ++r)
    for (index_type c = 0; c < 16; ++c) CHECK(fit.prompts.negative(r, c) == fit.prompts.negative(3 + r, c));
  CHECK(fit.warnings.size() == 2);
}

TEST_CASE("one negative a class trains without NND and says so") {
  setup<reference_double> s;
  auto o = small();
  o.negatives = 1;
  const auto rows = trace_of(s, o);
  CHECK(rows.back().nnd == 0);
  CHECK(std::isfinite(rows.back().loss));
  CHECK(s.fit(o).warnings.front().find("NND") != std::string::npos);
}

TEST_CASE("exact step counts, rows in order, and views") {
  setup<reference_double> s;
  auto o = small();
  o.stage1.steps = 5;
  o.stage2.steps = 7;
  o.shuffle = false;
  const auto rows = trace_of(s, o);
  REQUIRE(rows.size() == 12);
  CHECK(rows[4].stage == 1);
  CHECK(rows[5].stage == 2);
  CHECK(rows.back().steps == 7);
  // Two views of every image that are the same picture change nothing but the rows that are read.
  setup<reference_double> v;
  host_matrix<double> twice(24, 8);
  for (index_type i = 0; i < 24; ++i) std::ranges::copy(v.train.features.row(i / 2), twice.row(i).begin());
  v.train.features = twice;
  v.train.views = 2;
  const auto again = trace_of(v, o);
  CHECK(again.back().loss == rows.back().loss);
}

TEST_CASE("learned contexts bind to other names and refuse another encoder or suffix") {
  setup<reference_double> s;
  const auto prompts = s.fit(small()).prompts;
  const auto bank = prompts.bind(s.ctx, s.tower, tokenizer(), {"q", "ab", "new name", "r"});
  CHECK(bank.positive.rows() == 4);
  CHECK(bank.negative.rows() == 8);
  const auto own = prompts.bind(s.ctx, s.tower, tokenizer(), names);
  for (index_type c = 0; c < 8; ++c) CHECK(bank.positive(1, c) == Approx(own.positive(0, c)).epsilon(1e-12));
  auto other = std::move(s.tower);
  other.fingerprint = "tower-6";
  CHECK(code_of([&] { prompts.bind(s.ctx, other, tokenizer(), names); }) == "negood.prompt.2");
  CHECK(code_of([&] { prompts.require_suffix(""); }) == "negood.prompt.3");
  prompts.require_suffix(".");
}

TEST_CASE("class-specific contexts train and cannot be bound to another number of names") {
  setup<reference_double> s;
  auto o = small();
  o.scope = context_scope::class_specific;
  const auto prompts = s.fit(o).prompts;
  CHECK(prompts.positive.rows() == 9);
  CHECK(prompts.negative.rows() == 18);
  CHECK(code_of([&] { prompts.bind(s.ctx, s.tower, tokenizer(), {"only"}); }) == "negood.prompt.4");
}

TEST_CASE("text initialisation takes its length from the words; F-17 too long a prompt is an error, not a cut") {
  setup<reference_double> s;
  auto o = small();
  o.context_init = "ab cd";
  o.stage1.epochs = o.stage2.epochs = 0;
  const auto prompts = s.fit(o).prompts;
  CHECK(prompts.context_length == static_cast<index_type>(tokenizer().encode("ab cd").size()));
  o.context_init.clear();
  o.context_length = 29;
  CHECK(code_of([&] { s.fit(o); }) == "negood.prompt.1");
}

TEST_CASE("unusable training input is refused by name") {
  setup<reference_double> s;
  s.train.labels[3] = 3;
  CHECK(code_of([&] { s.fit(small()); }) == "negood.train.3");
  s.train.labels[3] = 0;
  s.train.labels.pop_back();
  CHECK(code_of([&] { s.fit(small()); }) == "negood.shape.2");
  s.train.labels.push_back(0);
  CHECK(code_of([&] { fit_negprompt(s.ctx, s.tower, tokenizer(), 20.0, {}, s.train, small()); }) == "negood.train.1");
  CHECK(code_of([&] { fit_negprompt(s.ctx, s.tower, tokenizer(), 0.0, names, s.train, small()); }) == "negood.train.1");
}

TEST_CASE("a run that leaves the finite numbers is an outcome, not an exception") {
  setup<reference_double> s;
  auto o = small();
  o.stage1.learning_rate = 1e300;
  o.stage1.schedule = schedule_kind::constant;
  const auto fit = s.fit(o);
  CHECK(fit.outcome == fit_outcome::diverged);
  CHECK(!fit.warnings.empty());
}

TEST_CASE("the presets are what the paper and the released code say") {
  const auto paper = negprompt_options::paper();
  CHECK(paper.context_length == 16);
  CHECK(paper.suffix == ".");
  CHECK(paper.negatives == 2);
  CHECK(paper.npd_weight == 0.1);
  CHECK(paper.nnd_weight == 0.05);
  CHECK(paper.stage1.epochs == 100);
  CHECK(paper.stage1.batch == 32);
  CHECK(paper.stage2.epochs == 10);
  CHECK(paper.stage2.batch == 64);
  CHECK(paper.stage1.optimizer.momentum == 0.9);
  CHECK(paper.stage1.optimizer.weight_decay == 5e-4);
  const auto oe = negprompt_options::released_oe();
  CHECK(oe.context_init == "a photo of a");
  CHECK(oe.suffix.empty());
  CHECK(oe.nis == nis_scope::all);
  CHECK(oe.nnd == nnd_form::mean_norm);
  CHECK(oe.stage2.learning_rate == 0.1);
  CHECK(oe.stage2.optimizer.momentum == 0);
  CHECK(oe.stage2.schedule == schedule_kind::released);
  CHECK(negprompt_options::released_msp().nis == nis_scope::multilabel);
}
