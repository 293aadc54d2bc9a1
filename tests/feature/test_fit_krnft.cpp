// Training of feature maps: steps, optimiser, resumption, outliers, and L_n running away or held.
#include "catch.hpp"
#include "code_of.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/krnft.hpp>

#include <fstream>
#include <sstream>

using namespace negood;
namespace {

using reference_double = reference::context<double>;

template <class Real>
host_matrix<Real> unit_rows(index_type rows, index_type cols, std::uint64_t index,
                            const host_matrix<Real>* near = nullptr, double distance = 1) {
  host_matrix<Real> m(rows, cols);
  random_sequence draw(33, random_purpose::test, index);
  for (index_type r = 0; r < rows; ++r) {
    double n = 0;
    std::vector<double> row;
    for (index_type d = 0; d < cols; ++d) {
      row.push_back(distance * draw.next_normal() / std::sqrt(double(cols)) +
                    (near ? double((*near)(r % near->rows(), d)) : 0.0));
      n += row.back() * row.back();
    }
    for (index_type d = 0; d < cols; ++d) m(r, d) = static_cast<Real>(row[std::size_t(d)] / std::sqrt(n));
  }
  return m;
}

constexpr index_type classes = 5, negatives = 22, width = 12, images = 8, kept = 3;

template <class Real>
struct setup {
  krnft_texts<Real> texts;
  krnft_training_data<Real> data;

  setup() {
    texts.classes = unit_rows<Real>(classes, width, 1);
    texts.negatives = unit_rows<Real>(negatives, width, 2);
    texts.logit_scale = 20;
    for (index_type i = 0; i < images; ++i) data.labels.push_back(i % classes);
    data.positives = host_matrix<Real>(images * kept, width);
    const auto near = unit_rows<Real>(images * kept, width, 3);
    for (index_type i = 0; i < images; ++i)
      for (index_type q = 0; q < kept; ++q) {
        double n = 0;
        for (index_type d = 0; d < width; ++d) {
          const double v = double(texts.classes(data.labels[std::size_t(i)], d)) + 1.2 * double(near(i * kept + q, d));
          data.positives(i * kept + q, d) = static_cast<Real>(v);
          n += v * v;
        }
        for (auto& v : data.positives.row(i * kept + q)) v = static_cast<Real>(double(v) / std::sqrt(n));
      }
    data.negatives = unit_rows<Real>(images * kept, width, 4);
  }
};

krnft_options small() {
  krnft_options o;
  o.hidden = 3;
  o.groups = 4;
  o.steps = 40;
  o.learning_rate = 1e-3;
  return o;
}

template <class B>
std::vector<krnft_trace_row> trace_of(B& ctx, const setup<real_t<B>>& s, const krnft_options& o) {
  std::vector<krnft_trace_row> rows;
  krnft_hooks<real_t<B>> hooks;
  hooks.on_step = [&](const krnft_trace_row& r) { rows.push_back(r); };
  fit_krnft(ctx, s.texts, s.data, o, {}, hooks);
  return rows;
}

double mean_loss(const std::vector<krnft_trace_row>& rows, std::size_t from, std::size_t count) {
  double sum = 0;
  for (std::size_t i = from; i < from + count; ++i) sum += rows[i].loss;
  return sum / double(count);
}

}  // namespace

TEST_CASE("weight decay acts on alpha = 1 + delta as PyTorch's AdamW does", "[krnft]") {
  std::ifstream in(NEGOOD_GOLDEN_DIR "/krnft.txt");
  std::string line, word;
  while (std::getline(in, line) && line.rfind("adamw", 0) != 0) {
  }
  std::istringstream words(line);
  words >> word;
  std::vector<double> v;
  for (double x = 0; words >> x;) v.push_back(x);
  REQUIRE(v.size() == 15);
  reference_double ctx;
  krnft_options o;
  o.model = feature_models::ssf;
  o.learning_rate = 0.05;
  o.optimizer.weight_decay = 0.1;
  auto host = initial_feature_parameters<double>(o.model, 3, 0);
  host.parts[0].scale = host_matrix<double>(1, 3, {0.0, 0.25, -0.5});
  auto p = upload_parameters(ctx, host);
  std::vector<optimizer_state<reference_double>> states;
  for_each_tensor(p[0], [&](const char*, const auto& t) { states.push_back(new_optimizer_state(ctx, t)); });
  for (index_type step = 0; step < 4; ++step) {
    auto g = upload_parameters(ctx, initial_feature_parameters<double>(o.model, 3, 0));
    g[0].scale = host_matrix<double>(
        1, 3, {v[std::size_t(3 * step)], v[std::size_t(3 * step + 1)], v[std::size_t(3 * step + 2)]});
    detail::krnft_update(ctx, o, p, g, states);
  }
  for (index_type d = 0; d < 3; ++d) CHECK(1 + p[0].scale(0, d) == Approx(v[std::size_t(12 + d)]).epsilon(1e-13));
  // beta is decayed towards 0, which it is.
  for (const double b : p[0].shift.values()) CHECK(b == 0);
}

TEST_CASE("training lowers the loss of every model, with either anchor and with outliers of their own", "[krnft]") {
  reference_double ctx;
  for (const auto& model : {feature_models::task_res, feature_models::ssf, feature_models::nft, feature_models::coft,
                            feature_models::kr_nft})
    for (const auto anchor : {condition_anchor::per_group, condition_anchor::per_sample})
      for (const bool pooled : {false, true}) {
        setup<double> s;
        s.data.pooled = pooled;
        if (pooled) s.data.negatives = unit_rows<double>(37, width, 7);
        auto o = small();
        o.model = model;
        o.anchor = anchor;
        o.images = 4;
        o.outliers = 5;
        o.steps = 60;
        o.learning_rate = 5e-3;
        o.knowledge_weight = 1;
        INFO(format_feature_model(model) << int(anchor) << pooled);
        const auto rows = trace_of(ctx, s, o);
        REQUIRE(rows.size() == 60);
        CHECK(mean_loss(rows, 50, 10) < mean_loss(rows, 0, 10) - 0.02);
        CHECK(rows[0].knowledge == 0);
        CHECK(rows[0].conditioning.largest_delta == 0);
        CHECK(rows.back().knowledge > 0);
        CHECK(rows.back().gradient_norm > 0);
        if (!pooled && anchor == condition_anchor::per_group) CHECK(rows[3].epoch == 1);  // 8 images, 4 a step
      }
}

TEST_CASE("stopped at any step and resumed gives the bytes of the uninterrupted run", "[krnft]") {
  eigen::context<float> ctx;
  for (const bool pooled : {false, true}) {
    setup<float> s;
    s.data.pooled = pooled;
    auto o = small();
    o.steps = 21;
    o.images = 3;
    o.outliers = 5;
    const auto whole = fit_krnft(ctx, s.texts, s.data, o).features.parameters;
    for (const index_type stop_at : {1, 2, 8, 20}) {
      index_type seen = 0;
      std::optional<krnft_checkpoint<float>> saved;
      krnft_hooks<float> hooks;
      hooks.on_checkpoint = [&](const krnft_checkpoint<float>& c) { saved = c; };
      hooks.stop = [&] { return ++seen == stop_at; };
      CHECK(code_of([&] { fit_krnft(ctx, s.texts, s.data, o, {}, hooks); }) == "negood.train.2");
      REQUIRE(saved);
      CHECK(saved->step == stop_at);
      krnft_start<float> start;
      start.resume = saved;
      CHECK(fit_krnft(ctx, s.texts, s.data, o, start).features.parameters == whole);
    }
    index_type every = 0;
    krnft_hooks<float> hooks;
    hooks.checkpoint_every = 5;
    hooks.on_checkpoint = [&](const krnft_checkpoint<float>& c) {
      every += 1;
      CHECK(c.step % 5 == 0);
    };
    fit_krnft(ctx, s.texts, s.data, o, {}, hooks);
    CHECK(every == 4);
  }
}

TEST_CASE("the same run gives the same bytes on any number of threads, and again", "[krnft]") {
  setup<float> s;
  s.texts.negatives = unit_rows<float>(3000, width, 2);  // enough work to be shared
  auto o = small();
  o.steps = 6;
  o.images = 4;
  const auto run = [&](index_type threads) {
    eigen::context<float> ctx({.threads = threads});
    return fit_krnft(ctx, s.texts, s.data, o).features.parameters;
  };
  const auto expected = run(1);
  for (const index_type threads : {1, 2, 4}) CHECK(run(threads) == expected);
  o.seed = 2;
  CHECK(!(run(1) == expected));
}

TEST_CASE("L_n runs away where nothing holds it, and lambda_2 = 100 holds it", "[krnft]") {
  reference_double ctx;
  const setup<double> s;
  auto o = small();
  o.steps = 400;
  o.images = 8;
  o.learning_rate = 0.05;
  o.knowledge_weight = 0;
  const auto loose = trace_of(ctx, s, o);
  o.knowledge_weight = 100;
  const auto held = trace_of(ctx, s, o);
  CHECK(loose.back().outlier < loose.front().outlier - 10);  // log sigma of -10 and below: far beyond any decision
  CHECK(loose.back().knowledge > 0.2);
  CHECK(held.back().knowledge < 0.05);
  CHECK(held.back().outlier > loose.back().outlier + 5);
  CHECK(held.back().loss < held.front().loss);
  krnft_hooks<double> none;
  o.knowledge_weight = 0;
  o.steps = 1;
  CHECK(fit_krnft(ctx, s.texts, s.data, o, {}, none).warnings.size() == 1);
}

TEST_CASE("row weights weigh; a weight of zero removes a row", "[krnft]") {
  reference_double ctx;
  setup<double> s;
  auto o = small();
  o.steps = 1;
  o.images = images;
  o.shuffle = false;
  const auto plain = trace_of(ctx, s, o);
  s.data.positive_weights.assign(std::size_t(images * kept), 2.0);
  s.data.negative_weights.assign(std::size_t(images * kept), 0.0);
  const auto weighted = trace_of(ctx, s, o);
  CHECK(weighted[0].id == Approx(2 * plain[0].id).epsilon(1e-13));
  CHECK(weighted[0].outlier == 0);
  s.data.positive_weights.pop_back();
  CHECK(code_of([&] { trace_of(ctx, s, o); }) == "negood.krnft.6");
  s.data.positive_weights.push_back(-1);
  CHECK(code_of([&] { trace_of(ctx, s, o); }) == "negood.krnft.6");
}

TEST_CASE("a run goes on from a given map; another model's map is refused", "[krnft]") {
  reference_double ctx;
  const setup<double> s;
  auto o = small();
  o.steps = 5;
  const auto first = fit_krnft(ctx, s.texts, s.data, o).features;
  krnft_start<double> start;
  start.parameters = first.parameters;
  o.steps = 0;
  const auto same = fit_krnft(ctx, s.texts, s.data, o, start);
  CHECK(same.features.parameters == first.parameters);
  CHECK(same.features.logit_scale == 20);
  o.model = feature_models::coft;
  CHECK(code_of([&] { fit_krnft(ctx, s.texts, s.data, o, start); }) == "negood.krnft.3");
}

TEST_CASE("unusable training input of feature maps is refused by name", "[krnft]") {
  reference_double ctx;
  const auto code = [&](auto change) {
    setup<double> s;
    auto o = small();
    change(s, o);
    return code_of([&] { fit_krnft(ctx, s.texts, s.data, o); });
  };
  CHECK(code([](auto& s, auto&) { s.data.labels.clear(); }) == "negood.train.1");
  CHECK(code([](auto& s, auto&) { s.data.labels[2] = classes; }) == "negood.train.3");
  CHECK(code([](auto& s, auto&) { s.data.labels[2] = -1; }) == "negood.train.3");
  CHECK(code([](auto& s, auto&) { s.data.labels.push_back(0); }) == "negood.shape.2");
  CHECK(code([](auto& s, auto&) { s.texts.logit_scale = 0; }) == "negood.train.1");
  CHECK(code([](auto&, auto& o) { o.images = 0; }) == "negood.train.1");
  CHECK(code([](auto&, auto& o) { o.learning_rate = -1; }) == "negood.train.1");
  CHECK(code([](auto&, auto& o) { o.groups = negatives + 1; }) == "negood.krnft.5");
  CHECK(code([](auto& s, auto&) { s.data.negatives = unit_rows<double>(4, width + 1, 1); }) == "negood.shape.2");
  CHECK(code([](auto& s, auto& o) {
          s.texts.negatives = {};
          o.model = feature_models::coft;
        }) == "negood.train.1");
}

TEST_CASE("a run that leaves the finite numbers is an outcome; duplicate classes are warned of", "[krnft]") {
  reference_double ctx;
  setup<double> s;
  auto o = small();
  o.learning_rate = 1e200;
  const auto fit = fit_krnft(ctx, s.texts, s.data, o);
  CHECK(fit.outcome == fit_outcome::diverged);
  CHECK(!fit.warnings.empty());
  o = small();
  std::ranges::copy(s.texts.classes.row(0), s.texts.classes.row(3).begin());
  const auto twins = fit_krnft(ctx, s.texts, s.data, o);
  CHECK(twins.outcome == fit_outcome::completed);
  REQUIRE(twins.warnings.size() == 1);
  CHECK(twins.warnings[0].find("class 3") != std::string::npos);
}

TEST_CASE("the presets of feature maps are what the paper and the released code say", "[krnft]") {
  const auto paper = krnft_options::paper(), released = krnft_options::released();
  CHECK(paper.knowledge_weight == 100);
  CHECK(paper.outlier_weight == 0.3);
  CHECK(paper.crops == 256);
  CHECK(paper.keep == 32);
  CHECK(paper.groups == 10);
  CHECK(paper.hidden == 64);
  CHECK(paper.steps == 1200);
  CHECK(paper.learning_rate == 1e-5);
  CHECK(paper.optimizer.kind == optimizer_kind::adamw);
  CHECK(paper.optimizer.weight_decay == 0.01);
  CHECK(paper.outlier_floor == 0);
  CHECK(paper.anchor == condition_anchor::per_group);
  CHECK(released.knowledge_weight == 10);
  CHECK(released.crops == 128);
  CHECK(released.outlier_floor == 1e-16);
  CHECK(released.steps == 1200);
}
