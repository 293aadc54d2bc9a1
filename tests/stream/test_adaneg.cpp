// AdaNeg against an independent numpy program (tests/golden/make_adaneg.py), and its properties.
#include "catch.hpp"
#include "code_of.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/io/npy.hpp>
#include <negood/stream/adaneg.hpp>

#include <numeric>

using namespace negood;
namespace {

host_matrix<double> golden(const std::string& name) {
  return read_npy<double>(std::string(NEGOOD_GOLDEN_DIR) + "/adaneg/" + name + ".npy");
}

template <class B>
adaneg_stream<B> stream_on(B& ctx, adaneg_options o) {
  using real = real_t<B>;
  return {ctx,
          make_prompt_bank(ctx, ctx.from_host(cast<real>(golden("positive")).view()),
                           ctx.from_host(cast<real>(golden("negative")).view()), 12.0),
          o};
}

std::vector<observation> numbers(index_type n, std::uint64_t first = 1) {
  std::vector<observation> out;
  for (index_type i = 0; i < n; ++i) out.push_back({first + static_cast<std::uint64_t>(i), 0});
  return out;
}

template <class Real>
host_matrix<Real> rows_of(const host_matrix<double>& m, index_type first, index_type n) {
  return cast<Real>(m.view().slice_rows(first, n));
}

struct variant {
  const char* name;
  adaneg_options options;
};
const std::vector<variant>& variants() {
  static const std::vector<variant> all{{"sample", {.slots = 3}},
                                        {"task", {.slots = 3, .proxies = proxy_kind::task_adaptive}},
                                        {"batch", {.groups = 1, .slots = 3, .batch = 40}},
                                        {"window",
                                         {.groups = 7,
                                          .slots = 3,
                                          .lambda = 1,
                                          .rule = gap_rule::sliding_window,
                                          .window = 210,
                                          .class_weight = 1,
                                          .class_among_all = false}},
                                        {"window_batch",
                                         {.slots = 3,
                                          .lambda = 1,
                                          .proxies = proxy_kind::task_adaptive,
                                          .rule = gap_rule::sliding_window,
                                          .window = 230,
                                          .class_weight = 1,
                                          .class_among_all = false,
                                          .batch = 25}}};
  return all;
}

template <class Answers>
std::vector<double> log_odds_of(const Answers& answers) {
  std::vector<double> out;
  for (const auto& a : answers) out.push_back(a.log_odds);
  return out;
}

using reference_double = reference::context<double>;
static_assert(StreamingScorer<adaneg_stream<reference_double>, host_matrix<double>>);

}  // namespace

TEMPLATE_TEST_CASE("AdaNeg equals the numpy program in every variant", "[adaneg]", reference_double,
                   eigen::context<float>) {
  using real = real_t<TestType>;
  const auto images = golden("images");
  const double tolerance = std::is_same_v<real, float> ? 5e-6 : 1e-7;  // images are remembered as floats
  for (const auto& v : variants()) {
    CAPTURE(v.name);
    TestType ctx;
    auto stream = stream_on(ctx, v.options);
    const auto got = stream.observe(cast<real>(images), numbers(images.rows()));
    const auto wanted = golden(v.name);
    index_type learned = 0;
    for (index_type i = 0; i < images.rows(); ++i) {
      CAPTURE(i);
      const auto& a = got[static_cast<std::size_t>(i)];
      CHECK(a.score == Approx(wanted(i, 0)).margin(tolerance));
      CHECK(a.label_index == static_cast<index_type>(wanted(i, 1)));
      CHECK(a.outcome == (wanted(i, 2) == 0   ? admission::not_considered
                          : wanted(i, 2) == 1 ? admission::admitted
                                              : admission::refused_full));
      CHECK((1 + v.options.lambda) / (1 + std::exp(-a.log_odds)) == Approx(a.score).epsilon(1e-12));
      learned += a.outcome == admission::admitted;
    }
    CHECK(stream.version() == static_cast<std::uint64_t>(learned));
  }
}

TEMPLATE_TEST_CASE("the number of images in a call and threads leave the bytes as they are", "[adaneg]",
                   reference_double, eigen::context<float>) {
  using real = real_t<TestType>;
  const auto images = golden("images");
  for (const auto& v : variants()) {
    CAPTURE(v.name);
    TestType ctx;
    auto whole = stream_on(ctx, v.options);
    const auto wanted = log_odds_of(whole.observe(cast<real>(images), numbers(150)));
    for (const index_type batches : {1, 3, 50}) {
      auto parts = stream_on(ctx, v.options);
      std::vector<double> got;
      for (index_type i = 0; i < 150; i += batches * v.options.batch) {
        const auto n = std::min<index_type>(batches * v.options.batch, 150 - i);
        const auto some =
            log_odds_of(parts.observe(rows_of<real>(images, i, n), numbers(n, static_cast<std::uint64_t>(1 + i))));
        got.insert(got.end(), some.begin(), some.end());
      }
      CHECK(got == wanted);
      CHECK(parts.version() == whole.version());
    }
    if constexpr (std::is_same_v<real, float>)
      for (const index_type threads : {1, 2, 4}) {
        TestType other({.threads = threads});
        auto again = stream_on(other, v.options);
        CHECK(log_odds_of(again.observe(cast<real>(images), numbers(150))) == wanted);
      }
  }
}

TEST_CASE("an answer depends on earlier images, not on later ones; on the whole batch where batches are wanted",
          "[adaneg]") {
  reference_double ctx;
  const auto images = golden("images");
  auto a = stream_on(ctx, {.slots = 3}), b = stream_on(ctx, {.slots = 3});
  const auto all = log_odds_of(a.observe(images, numbers(150)));
  const auto some = log_odds_of(b.observe(rows_of<double>(images, 0, 60), numbers(60)));
  CHECK(std::equal(some.begin(), some.end(), all.begin()));
  auto c = stream_on(ctx, {.slots = 3});
  CHECK(log_odds_of(c.observe(rows_of<double>(images, 60, 90), numbers(90)))[89] != all[149]);
  auto d = stream_on(ctx, {.slots = 3, .batch = 150});
  CHECK(log_odds_of(d.observe(images, numbers(150)))[0] != all[0]);
}

TEST_CASE("without confident images S is (1 + lambda) S_nl and there is no memory", "[adaneg]") {
  reference_double ctx;
  const auto images = golden("images"), wanted = golden("sample");
  auto stream = stream_on(ctx, {.gap = 1, .lambda = 0.25});
  const auto got = stream.observe(images, numbers(150));
  for (index_type i = 0; i < 150; ++i) {
    const auto& a = got[static_cast<std::size_t>(i)];
    CHECK(a.score == Approx(1.25 * wanted(i, 3)).epsilon(1e-12));
    CHECK(probability_of_log_odds(a.log_odds) == Approx(wanted(i, 3)).epsilon(1e-12));
    CHECK(a.outcome == admission::not_considered);
  }
  CHECK(stream.bytes() == 0);
  auto only = stream_on(ctx, {.gap = 1, .lambda = 0});  // log(0) is no trap
  CHECK(only.observe(images, numbers(150))[3].score == Approx(wanted(3, 3)).epsilon(1e-12));
}

TEST_CASE("a label keeps the surest images, within its bytes", "[adaneg]") {
  eigen::context<float> ctx;
  const auto images = golden("images");
  for (const auto kind : {proxy_kind::sample_adaptive, proxy_kind::task_adaptive}) {
    const adaneg_options o{.slots = 2, .proxies = kind};
    auto stream = stream_on(ctx, o);
    std::vector<std::vector<double>> before(28);
    index_type replaced = 0, full = 0;
    for (index_type i = 0; i < 150; ++i) {
      stream.observe(rows_of<float>(images, i, 1), numbers(1, static_cast<std::uint64_t>(i + 1)));
      for (index_type c = 0; c < 28; ++c) {
        const auto* label = stream.label(c);
        if (label == nullptr) continue;
        auto& old = before[static_cast<std::size_t>(c)];
        REQUIRE(label->size() <= 2);
        if (old.size() == 2 && label->entropies() != old) {
          ++replaced;
          CHECK(std::accumulate(label->entropies().begin(), label->entropies().end(), 0.0) <
                std::accumulate(old.begin(), old.end(), 0.0));
        }
        old = label->entropies();
      }
    }
    std::size_t labels = 0;
    for (const auto& e : before) {
      labels += e.empty() ? 0 : 1;
      full += e.size() == 2;
    }
    CHECK(replaced > 0);
    CHECK(full > 3);
    CHECK(labels < 28);
    const std::size_t bound =
        kind == proxy_kind::sample_adaptive ? 2 * (4 * 12 + 8 * 2 + 24) : 2 * (4 * 12 + 24) + 8 * 12;
    CHECK(stream.bytes() <= labels * bound);
    CHECK(stream.bytes() > 0);
  }
}

TEST_CASE("an image that a label has seen is nearer to its proxy than to its text", "[adaneg]") {
  const std::vector<float> h{0.6F, 0.8F, 0}, other{0, 0.6F, 0.8F};
  for (const auto kind : {proxy_kind::sample_adaptive, proxy_kind::task_adaptive}) {
    const auto one = adaneg_label::with<float>(nullptr, 2, kind, h, 0.5, 0.6, 1);  // the text is the first axis
    CHECK(one->cosine<float>(h, 0.6, 5) > 0.6);
    CHECK(one->cosine<float>(h, 0.6, 0) ==
          Approx(1.6 / std::sqrt(1 + 1 + 1.2)).epsilon(1e-7));  // beta 0: equal weights
    const auto two = adaneg_label::with<float>(one.get(), 2, kind, other, 0.5, 0.0, 2);
    const auto three = adaneg_label::with<float>(two.get(), 2, kind, other, 0.4, 0.0, 3);  // of equals the later goes
    CHECK(three->sequences() == std::vector<std::uint64_t>{1, 3});
    CHECK(adaneg_label::with<float>(two.get(), 2, kind, other, 0.5, 0.0, 4) == nullptr);
    CHECK(two->sequences() == std::vector<std::uint64_t>{1, 2});
  }
}

TEST_CASE("bad input leaves AdaNeg as it was", "[adaneg]") {
  reference_double ctx;
  const auto images = golden("images");
  auto stream = stream_on(ctx, {.slots = 3, .batch = 10}), clean = stream_on(ctx, {.slots = 3, .batch = 10});
  stream.observe(rows_of<double>(images, 0, 30), numbers(30));
  clean.observe(rows_of<double>(images, 0, 30), numbers(30));
  auto bad = rows_of<double>(images, 30, 20);
  bad(15, 2) = std::numeric_limits<double>::infinity();
  CHECK(code_of([&] { stream.observe(bad, numbers(20, 31)); }) == "negood.feature.2");
  for (double& v : bad.row(15)) v = 0;
  CHECK(code_of([&] { stream.observe(bad, numbers(20, 31)); }) == "negood.feature.3");
  CHECK(code_of([&] { stream.observe(rows_of<double>(images, 30, 20), numbers(20, 30)); }) == "negood.stream.3");
  CHECK(code_of([&] { stream.observe(rows_of<double>(images, 30, 20), numbers(19, 31)); }) == "negood.stream.3");
  CHECK(code_of([&] { stream.observe(host_matrix<double>(1, 5, 0.4), numbers(1, 31)); }) == "negood.feature.4");
  CHECK(stream.last_sequence() == 30);
  const auto last = rows_of<double>(images, 30, 25);
  CHECK(log_odds_of(stream.observe(last, numbers(25, 31))) == log_odds_of(clean.observe(last, numbers(25, 31))));
  CHECK(code_of([&] { stream.observe(last, numbers(25, 56)); }) == "negood.stream.8");
  stream.reset();
  CHECK(stream.bytes() == 0);
  CHECK(stream.version() == 0);
  stream.observe(last, numbers(25));
  for (const adaneg_options& o :
       {adaneg_options{.gamma = 1.5}, adaneg_options{.gap = -0.1}, adaneg_options{.slots = 0},
        adaneg_options{.window = 10}, adaneg_options{.lambda = -1},
        adaneg_options{.beta = std::numeric_limits<double>::quiet_NaN()}, adaneg_options{.batch = 0}})
    CHECK(code_of([&] { stream_on(ctx, o); }) == "negood.stream.1");
  CHECK(code_of([&] { stream_on(ctx, {.groups = 24}); }) == "negood.bank.2");
  CHECK(adaneg_released().slots == 9);
  CHECK(adaneg_adaptive_gap().lambda == 1);
}
