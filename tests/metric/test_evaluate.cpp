// AUROC, AUPR and FPR: against scikit-learn's golden values, against the definitions, and their invariances.
#include "catch.hpp"
#include "metric/brute_force.hpp"

#include <negood/metric/accuracy.hpp>
#include <negood/metric/metric_state.hpp>

#include <fstream>
#include <map>
#include <random>
#include <sstream>

using namespace negood;

namespace {

struct golden_case {
  std::string name;
  std::vector<double> id, ood;
  std::map<std::string, double> values;
};

std::vector<double> read_hex(std::istream& in, std::size_t n) {
  std::vector<double> out(n);
  std::string token;
  for (double& x : out) {
    in >> token;
    x = std::strtod(token.c_str(), nullptr);
  }
  return out;
}

std::vector<golden_case> read_golden() {
  std::ifstream in(std::string(NEGOOD_GOLDEN_DIR) + "/metrics.txt");
  std::vector<golden_case> cases;
  for (std::string word; in >> word;) {
    if (word == "case") {
      std::size_t n = 0, m = 0;
      cases.emplace_back();
      in >> cases.back().name >> n >> m;
      cases.back().id = read_hex(in, n);
      cases.back().ood = read_hex(in, m);
    } else {
      std::string key, number;
      in >> key >> number;
      cases.back().values[key] = std::strtod(number.c_str(), nullptr);
    }
  }
  return cases;
}

template <class Real>
struct random_sets {
  std::vector<Real> id, ood;
};

/// Sizes from 1 to 60; every other case is heavy with ties.
template <class Real>
random_sets<Real> draw(std::mt19937_64& g) {
  std::uniform_int_distribution<int> size(1, 60), kind(0, 3), digit(-3, 3);
  std::normal_distribution<double> normal;
  random_sets<Real> s;
  s.id.resize(static_cast<std::size_t>(size(g)));
  s.ood.resize(static_cast<std::size_t>(size(g)));
  const int k = kind(g);
  const auto value = [&](double shift) {
    if (k == 0) return static_cast<Real>(normal(g) + shift);
    if (k == 1) return static_cast<Real>(std::round(4 * (normal(g) + shift)) / 4);
    if (k == 2) return static_cast<Real>(digit(g));
    return static_cast<Real>(std::ldexp(normal(g), 20 * digit(g)));
  };
  for (Real& x : s.id) x = value(0.7);
  for (Real& x : s.ood) x = value(0);
  return s;
}

void require_near(const metric_report& a, const metric_report& b) {
  REQUIRE(a.values);
  REQUIRE(b.values);
  REQUIRE(a.tied_pairs == b.tied_pairs);
  REQUIRE(a.degenerate == b.degenerate);
  REQUIRE(a.values->auroc == b.values->auroc);
  REQUIRE(a.values->auroc_strict == b.values->auroc_strict);
  REQUIRE(a.values->fpr == b.values->fpr);
  REQUIRE(std::abs(a.values->aupr_in_step - b.values->aupr_in_step) <= 1e-13);
  REQUIRE(std::abs(a.values->aupr_in_trapezoid - b.values->aupr_in_trapezoid) <= 1e-13);
  REQUIRE(std::abs(a.values->aupr_out_step - b.values->aupr_out_step) <= 1e-13);
  REQUIRE(std::abs(a.values->aupr_out_trapezoid - b.values->aupr_out_trapezoid) <= 1e-13);
}

std::string code_of(const std::vector<double>& id, const std::vector<double>& ood, metric_options options = {}) {
  try {
    evaluate(id, ood, options);
  } catch (const error& e) {
    return e.code();
  }
  return "none";
}

constexpr int cases = 3000;

}  // namespace

TEST_CASE("metrics equal scikit-learn to 1e-12, ties and all", "[metric]") {
  const auto golden = read_golden();
  REQUIRE(golden.size() == 19);
  for (const golden_case& c : golden) {
    INFO(c.name);
    const metric_report r = evaluate(c.id, c.ood);
    REQUIRE(r.values);
    const auto near = [&](const std::string& key, double value) {
      INFO(key << " is " << value << ", expected " << c.values.at(key));
      CHECK(std::abs(value - c.values.at(key)) <= 1e-12);
    };
    near("auroc", r.values->auroc);
    near("auroc_strict", r.values->auroc_strict);
    near("aupr_in_trapezoid", r.values->aupr_in_trapezoid);
    near("aupr_in_step", r.values->aupr_in_step);
    near("aupr_out_trapezoid", r.values->aupr_out_trapezoid);
    near("aupr_out_step", r.values->aupr_out_step);
    CHECK(static_cast<double>(r.tied_pairs) == c.values.at("tied_pairs"));
    for (const fpr_convention convention : fpr_conventions) {
      const std::string name(to_string(convention));
      INFO(name);
      CHECK(r.values->fpr[convention] == c.values.at(name));
      CHECK(fpr_at_tpr(c.id, c.ood, 0.8, convention) == c.values.at(name + "80"));
    }
  }
}

TEST_CASE("metrics equal their definitions on every pair and threshold", "[metric]") {
  std::mt19937_64 g(11);
  for (int i = 0; i < cases; ++i) {
    INFO("case " << i);
    const auto d = draw<double>(g);
    require_near(evaluate(d.id, d.ood), brute_force::evaluate(d.id, d.ood, 19, 20));
    const auto f = draw<float>(g);
    require_near(evaluate(f.id, f.ood, {.recall = 0.9}), brute_force::evaluate(f.id, f.ood, 9, 10));
    require_near(evaluate(f.id, f.ood, {.recall = 0.3}), brute_force::evaluate(f.id, f.ood, 3, 10));
  }
}

TEST_CASE("metrics over several blocks of groups equal their definitions", "[metric]") {
  std::mt19937_64 g(12);
  std::normal_distribution<float> normal;
  std::vector<float> id(2600), ood(2300);
  for (float& x : id) x = normal(g);
  for (float& x : ood) x = normal(g) - 3;
  require_near(evaluate(id, ood), brute_force::evaluate(id, ood, 19, 20));
  require_near(evaluate(ood, id), brute_force::evaluate(ood, id, 19, 20));
  // No ID score for more than a block on either side of the threshold of nearest recall.
  for (std::size_t i = 0; i < id.size(); ++i)
    id[i] = i < 130 ? -20.0F - static_cast<float>(i) : 20.0F + static_cast<float>(i);
  require_near(evaluate(id, ood), brute_force::evaluate(id, ood, 19, 20));
  require_near(evaluate(id, ood, {.recall = 0.951}), brute_force::evaluate(id, ood, 951, 1000));
  require_near(evaluate(id, ood, {.recall = 0.949}), brute_force::evaluate(id, ood, 949, 1000));
}

TEST_CASE("metrics do not change under a strictly increasing map", "[metric]") {
  std::mt19937_64 g(21);
  for (int i = 0; i < cases; ++i) {
    auto s = draw<double>(g);
    std::vector<double> all(s.id);
    all.insert(all.end(), s.ood.begin(), s.ood.end());
    std::sort(all.begin(), all.end());
    all.erase(std::unique(all.begin(), all.end()), all.end());
    const auto before = evaluate(s.id, s.ood);
    const auto rank = [&](double x) {
      return std::exp(0.1 * static_cast<double>(std::lower_bound(all.begin(), all.end(), x) - all.begin())) - 7.0;
    };
    for (double& x : s.id) x = rank(x);
    for (double& x : s.ood) x = rank(x);
    REQUIRE(evaluate(s.id, s.ood) == before);
  }
}

TEST_CASE("metrics with the sign flipped and the roles exchanged are mirrored", "[metric]") {
  std::mt19937_64 g(22);
  for (int i = 0; i < cases; ++i) {
    const auto s = draw<float>(g);
    auto id = s.id, ood = s.ood;
    for (float& x : id) x = -x;
    for (float& x : ood) x = -x;
    const auto a = evaluate(s.id, s.ood), flipped = evaluate(id, ood), mirrored = evaluate(ood, id);
    REQUIRE(a.values->auroc + flipped.values->auroc == Approx(1.0).epsilon(1e-15));
    REQUIRE(mirrored.values->auroc == a.values->auroc);
    REQUIRE(mirrored.values->aupr_in_step == Approx(a.values->aupr_out_step).epsilon(1e-13));
    REQUIRE(mirrored.values->aupr_out_trapezoid == Approx(a.values->aupr_in_trapezoid).epsilon(1e-13));
    REQUIRE(mirrored.values->fpr.id_positive_first == a.values->fpr.ood_positive_first);
    REQUIRE(mirrored.values->fpr.ood_positive_first == a.values->fpr.id_positive_first);
  }
}

TEST_CASE("metrics do not depend on the order of the scores", "[metric]") {
  std::mt19937_64 g(23);
  for (int i = 0; i < cases; ++i) {
    auto s = draw<double>(g);
    const auto before = evaluate(s.id, s.ood);
    std::shuffle(s.id.begin(), s.id.end(), g);
    std::shuffle(s.ood.begin(), s.ood.end(), g);
    REQUIRE(evaluate(s.id, s.ood) == before);
  }
}

TEST_CASE("metrics do not change when every score is repeated", "[metric]") {
  std::mt19937_64 g(24);
  for (int i = 0; i < cases; ++i) {
    const auto s = draw<double>(g);
    auto id = s.id, ood = s.ood;
    id.insert(id.end(), s.id.begin(), s.id.end());
    ood.insert(ood.end(), s.ood.begin(), s.ood.end());
    const auto a = evaluate(s.id, s.ood), b = evaluate(id, ood);
    REQUIRE(a.values->auroc == b.values->auroc);
    REQUIRE(a.values->fpr == b.values->fpr);
    REQUIRE(b.tied_pairs == 4 * a.tied_pairs);
    REQUIRE(a.values->aupr_in_step == Approx(b.values->aupr_in_step).epsilon(1e-13));
    REQUIRE(a.values->aupr_out_trapezoid == Approx(b.values->aupr_out_trapezoid).epsilon(1e-13));
  }
}

TEST_CASE("merged shards give the bytes of all scores at once, in any order", "[metric]") {
  std::mt19937_64 g(25);
  for (int i = 0; i < cases; ++i) {
    const auto s = draw<float>(g);
    std::vector<metric_state> shards(std::uniform_int_distribution<std::size_t>(1, 5)(g));
    std::vector<std::vector<float>> id(shards.size()), ood(shards.size());
    for (const float x : s.id) id[g() % shards.size()].push_back(x);
    for (const float x : s.ood) ood[g() % shards.size()].push_back(x);
    for (std::size_t k = 0; k < shards.size(); ++k) {
      if (k % 2 == 0) {
        shards[k].add<float>(id[k], ood[k]);
      } else {  // the same scores held as doubles
        shards[k].add<double>(std::vector<double>(id[k].begin(), id[k].end()), {});
        shards[k].add<double>({}, std::vector<double>(ood[k].begin(), ood[k].end()));
      }
    }
    std::shuffle(shards.begin(), shards.end(), g);
    metric_state all;
    for (const metric_state& shard : shards) all.merge(shard);
    REQUIRE(all.report() == evaluate(s.id, s.ood));
    REQUIRE(metric_state(all.counts()) == all);
  }
}

TEST_CASE("merged shards of more than one block give the bytes of all scores at once", "[metric]") {
  std::mt19937_64 g(26);
  std::normal_distribution<double> normal;
  std::vector<double> id(9000), ood(5000);
  for (double& x : id) x = normal(g) + 1;
  for (double& x : ood) x = std::round(normal(g) * 1000) / 1000;
  metric_state a, b;
  a.add<double>(std::span<const double>(id).first(4000), std::span<const double>(ood).first(10));
  b.add<double>(std::span<const double>(id).subspan(4000), std::span<const double>(ood).subspan(10));
  b.merge(a);
  CHECK(b.report(0.95) == evaluate(id, ood));
  CHECK(b.report(0.8) == evaluate(id, ood, {.recall = 0.8}));
  CHECK(b.report(0.8).values->fpr != b.report(0.95).values->fpr);
}

TEST_CASE("F-10: an empty set gives no values and a reason", "[metric][faults]") {
  const std::vector<float> none, some{1, 2};
  CHECK(evaluate(none, some).reason == "the ID set is empty");
  CHECK(evaluate(some, none).reason == "the OOD set is empty");
  CHECK(evaluate(none, none).reason == "both sets are empty");
  CHECK_FALSE(evaluate(none, some).values);
  CHECK_FALSE(auroc(some, none));
  CHECK_FALSE(fpr_at_tpr(none, some));
  CHECK_FALSE(aupr(none, some));
  CHECK(metric_state().report().reason == "both sets are empty");
  const std::vector<metric_report> with_empty{evaluate(some, some), evaluate(some, none)};
  CHECK_FALSE(mean(with_empty));
  CHECK_FALSE(mean({}));
}

TEST_CASE("F-11: all scores equal give AUROC 1/2, FPR 1 and the degenerate flag", "[metric][faults]") {
  const std::vector<double> id(37, -0.0), ood(11, 0.0);
  const auto r = evaluate(id, ood);
  CHECK(r.degenerate);
  CHECK(r.values->auroc == 0.5);
  CHECK(r.values->auroc_strict == 0.0);
  for (const fpr_convention c : fpr_conventions) CHECK(r.values->fpr[c] == 1.0);
  CHECK(r.tied_pairs == 37 * 11);
  CHECK_FALSE(evaluate(id, std::vector<double>{1.0}).degenerate);
  CHECK_FALSE(evaluate(std::vector<double>{0.0, 1.0}, std::vector<double>{0.0, 1.0}).degenerate);
}

TEST_CASE("F-12: a group of equal scores at the threshold falls on one side", "[metric][faults]") {
  // 19 of 20 ID scores are needed; 3 equal ones straddle that rank, and 2 OOD scores share their value.
  std::vector<double> id(17, 5.0);
  id.insert(id.end(), 3, 2.0);
  const std::vector<double> ood{2.0, 2.0, 1.0, 0.0};
  CHECK(fpr_at_tpr(id, ood, 0.95, fpr_convention::id_positive_first) == 0.5);
  CHECK(fpr_at_tpr(id, ood, 0.95, fpr_convention::id_positive_nearest) == 0.5);
  CHECK(fpr_at_tpr(id, ood, 0.75, fpr_convention::ood_positive_first) == 0.15);
}

TEST_CASE("scores that are not finite are refused unless the caller ranks infinities", "[metric][faults]") {
  const double inf = std::numeric_limits<double>::infinity(), nan = std::numeric_limits<double>::quiet_NaN();
  CHECK(code_of({1, nan}, {0}) == "negood.metric.1");
  CHECK(code_of({1}, {0, -nan}) == "negood.metric.1");
  CHECK(code_of({1, inf}, {0}) == "negood.metric.2");
  CHECK(code_of({1}, {-inf}) == "negood.metric.2");
  CHECK(code_of({1, nan}, {-inf}, {.allow_infinite = true}) == "negood.metric.1");
  const auto r = evaluate(std::vector<double>{1, -inf}, std::vector<double>{-inf, 0}, {.allow_infinite = true});
  CHECK(r.values->auroc == 0.625);
  CHECK_THROWS_WITH(evaluate(std::vector<double>{1, 2, nan}, std::vector<double>{0}),
                    Catch::Contains("the ID set holds NaN in row 2"));
}

TEST_CASE("a recall of zero or beyond one is refused", "[metric]") {
  for (const double recall : {0.0, -0.1, 1.0000001, std::numeric_limits<double>::quiet_NaN()})
    CHECK(code_of({1}, {0}, {.recall = recall}) == "negood.metric.3");
  CHECK(fpr_at_tpr(std::vector<double>{1, 2}, std::vector<double>{0, 1}, 1.0) == 0.5);
}

TEST_CASE("more pairs than 62 bits are refused, fewer are counted exactly", "[metric]") {
  constexpr index_type big = 1'500'000'000;
  const metric_state fits(std::vector<score_count>{{0.0, 0, big}, {0.5, big - 1, 0}, {1.0, 1, 0}});
  CHECK(fits.report().values->auroc == 1.0);
  CHECK(fits.report().values->fpr.id_positive_first == 0.0);
  const metric_state too_many(std::vector<score_count>{{0.0, 2 * big, 2 * big}});
  CHECK_THROWS_WITH(too_many.report(), Catch::Contains("negood.metric.4"));
}

TEST_CASE("a metric state that is not one is refused", "[metric][faults]") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  const auto code = [](std::vector<score_count> counts) -> std::string {
    try {
      metric_state s(std::move(counts));
    } catch (const error& e) {
      return e.code();
    }
    return "none";
  };
  CHECK(code({{0, 1, 0}, {1, 0, 2}}) == "none");
  CHECK(code({{1, 1, 0}, {0, 0, 2}}) == "negood.metric.6");
  CHECK(code({{-0.0, 1, 0}, {0.0, 0, 2}}) == "negood.metric.6");
  CHECK(code({{nan, 1, 0}}) == "negood.metric.6");
  CHECK(code({{inf, 1, 0}}) == "negood.metric.6");
  CHECK(code({{0, -1, 2}}) == "negood.metric.6");
  CHECK(code({{0, 0, 0}}) == "negood.metric.6");
  CHECK(code({{0, std::numeric_limits<index_type>::max(), 0}}) == "negood.metric.6");
  CHECK_NOTHROW(metric_state({{-inf, 1, 0}}, {.allow_infinite = true}));
}

TEST_CASE("keys have the order of the numbers and give them back", "[metric]") {
  std::mt19937_64 g(31);
  for (int i = 0; i < 100000; ++i) {
    const auto a = std::bit_cast<float>(static_cast<std::uint32_t>(g())),
               b = std::bit_cast<float>(static_cast<std::uint32_t>(g()));
    if (a != a || b != b) continue;
    REQUIRE((detail::to_key(a) < detail::to_key(b)) == (a < b));
    REQUIRE(detail::from_key<float>(detail::to_key(a)) == a);
    const auto c = std::bit_cast<double>(g());
    if (c == c) REQUIRE(detail::from_key<double>(detail::to_key(c)) == c);
  }
  CHECK(detail::to_key(-0.0) == detail::to_key(0.0));
}

TEST_CASE("the radix sort sorts, whatever bits the keys share", "[metric]") {
  std::mt19937_64 g(32);
  for (int bits = 0; bits <= 64; ++bits)
    for (const std::size_t n : {std::size_t{255}, std::size_t{256}, std::size_t{5000}}) {
      const std::uint64_t base = g() << (bits < 64 ? bits : 0);
      std::vector<std::uint64_t> keys(n), expected;
      for (auto& k : keys) k = (bits < 64 ? base : 0) + (bits == 0 ? 0 : g() >> (64 - bits));
      expected = keys;
      std::sort(expected.begin(), expected.end());
      std::vector<std::uint64_t> scratch(n);
      const std::uint64_t* sorted_keys =
          detail::sort_keys(keys.data(), scratch.data(), n, expected.front(), expected.back());
      REQUIRE(std::equal(expected.begin(), expected.end(), sorted_keys));
      std::vector<float> scores(n);
      for (float& s : scores) s = std::ldexp(static_cast<float>(g() % 97), bits - 32);
      const sorted_scores<float> sorted{std::span<const float>(scores)};
      std::sort(scores.begin(), scores.end());
      for (std::size_t i = 0; i < n; ++i) REQUIRE(sorted[static_cast<index_type>(i)] == scores[i]);
    }
}

TEST_CASE("a mean over sets is the plain mean", "[metric]") {
  const std::vector<double> id{1, 2, 3, 4}, near{0, 1, 2}, far{-3, -2, 0.5, 1.5};
  const std::vector<metric_report> reports{evaluate(id, near), evaluate(id, far)};
  const auto m = mean(reports);
  REQUIRE(m);
  CHECK(m->auroc == (reports[0].values->auroc + reports[1].values->auroc) / 2);
  CHECK(m->aupr_out_step == (reports[0].values->aupr_out_step + reports[1].values->aupr_out_step) / 2);
  CHECK(m->fpr.ood_positive_first ==
        (reports[0].values->fpr.ood_positive_first + reports[1].values->fpr.ood_positive_first) / 2);
}

TEST_CASE("accuracy counts, OSCR weighs pairs by correct classification", "[metric]") {
  const std::vector<index_type> predictions{0, 1, 2, 2}, labels{0, 1, 1, 2};
  CHECK(accuracy(predictions, labels) == 0.75);
  CHECK_FALSE(accuracy(std::vector<index_type>{}, std::vector<index_type>{}));
  CHECK_THROWS_WITH(accuracy(predictions, std::vector<index_type>{1}), Catch::Contains("negood.metric.5"));

  std::mt19937_64 g(41);
  for (int i = 0; i < 500; ++i) {
    const auto s = draw<double>(g);
    std::vector<bool> correct(s.id.size());
    double pairs = 0, best = 0;
    for (std::size_t k = 0; k < correct.size(); ++k) {
      correct[k] = (g() & 3) != 0;
      for (const double o : s.ood) pairs += correct[k] ? (s.id[k] > o) + 0.5 * (s.id[k] == o) : 0.0;
    }
    const auto n = static_cast<double>(s.id.size()), m = static_cast<double>(s.ood.size());
    REQUIRE(oscr<double>(s.id, correct, s.ood).value() == Approx(pairs / (n * m)).epsilon(1e-13).margin(1e-15));
    for (const double t : s.id) {
      const auto tp = static_cast<double>(brute_force::count_at_least(s.id, t));
      best = std::max(best, (tp / n + 1 - static_cast<double>(brute_force::count_at_least(s.ood, t)) / m) / 2);
    }
    const sorted_scores<double> id{std::span<const double>(s.id)}, ood{std::span<const double>(s.ood)};
    REQUIRE(detection_accuracy(id, ood).value() == Approx(std::max(best, 0.5)).epsilon(1e-13));
  }
}

TEST_CASE("convention names are read back", "[metric]") {
  for (const fpr_convention c : fpr_conventions) CHECK(parse_fpr_convention(to_string(c)) == c);
  CHECK_FALSE(parse_fpr_convention("fpr95"));
}
