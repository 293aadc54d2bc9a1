// Thresholds from ID scores: quantiles with ties, the conformal rule, the exact interval, and what is refused.
#include "catch.hpp"
#include "code_of.hpp"

#include <negood/detector/threshold.hpp>

#include <fstream>
#include <random>
#include <sstream>

using namespace negood;

namespace {

std::vector<double> numbers(int first, int last) {
  std::vector<double> v;
  for (int i = first; i <= last; ++i) v.push_back(i);
  return v;
}

}  // namespace

TEST_CASE("the recall threshold is the highest one that accepts the wanted share of ID scores", "[threshold]") {
  std::mt19937_64 g(7);
  std::uniform_int_distribution<int> size(1, 120), digit(-9, 9), percent(1, 100);
  for (int i = 0; i < 3000; ++i) {
    std::vector<float> id(static_cast<std::size_t>(size(g)));
    for (float& x : id) x = i % 2 == 0 ? static_cast<float>(digit(g)) : static_cast<float>(g() % 100000) / 1000;
    const int wanted = percent(g);
    const auto t = calibrate_threshold(id, {.id_recall = wanted / 100.0});
    index_type at_least = 0, above = 0, equal = 0;
    for (const float x : id) {
      at_least += x >= t.threshold;
      above += x > t.threshold;
      equal += x == t.threshold;
    }
    const auto n = static_cast<index_type>(id.size());
    INFO(wanted << " % of " << n);
    REQUIRE(100 * at_least >= wanted * n);
    REQUIRE(100 * above < wanted * n);  // any higher threshold accepts too few
    REQUIRE(t.accepted == at_least);
    REQUIRE(t.ties_at_boundary == equal - 1);
    REQUIRE(t.achieved_recall == static_cast<double>(at_least) / static_cast<double>(n));
    REQUIRE(t.recall_interval.lower <= t.achieved_recall);
    REQUIRE(t.recall_interval.upper >= t.achieved_recall);
  }
  CHECK(calibrate_threshold(numbers(1, 20)).threshold == 2);
  CHECK(calibrate_threshold(numbers(1, 20), {.id_recall = 1.0}).threshold == 1);
  CHECK(calibrate_threshold(numbers(1, 20)).policy == "id_recall");
}

TEST_CASE("F-12: equal ID scores at the threshold are accepted together and reported", "[threshold][faults]") {
  std::vector<double> id = numbers(11, 27);
  id.insert(id.end(), {5.0, 5.0, 5.0});
  const auto t = calibrate_threshold(id);
  CHECK(t.threshold == 5.0);
  CHECK(t.ties_at_boundary == 2);
  CHECK(t.accepted == 20);
  CHECK(t.achieved_recall == 1.0);
}

TEST_CASE("F-52: ID scores alone set a quantile, not an extreme score; no ID scores are refused",
          "[threshold][faults]") {
  // Without OOD data the fault picked the end of the range at which (nearly) every ID image is called unknown.
  const std::vector<double> id = numbers(1, 100);
  const auto t = calibrate_threshold(id);
  CHECK(t.threshold == 6);
  CHECK(t.accepted == 95);
  const auto four = calibrate_threshold(numbers(1, 4));  // the four scores of the report
  CHECK(four.threshold == 1);
  CHECK(four.achieved_recall == 1.0);
  const std::vector<double> none;
  CHECK(code_of([&] { calibrate_threshold(none); }) == "negood.threshold.1");
  CHECK(code_of([&] { calibrate_threshold(none, {.conformal_alpha = 0.1}); }) == "negood.threshold.1");
}

TEST_CASE("the conformal threshold is the floor((n+1) alpha)-th smallest score", "[threshold]") {
  CHECK(calibrate_threshold(numbers(1, 99), {.conformal_alpha = 0.05}).threshold == 5);
  CHECK(calibrate_threshold(numbers(1, 98), {.conformal_alpha = 0.05}).threshold == 4);
  CHECK(calibrate_threshold(numbers(1, 99), {.conformal_alpha = 0.29}).threshold ==
        29);  // 100 * 0.29 < 29 in floating point
  CHECK(calibrate_threshold(numbers(1, 19), {.conformal_alpha = 0.05}).threshold == 1);
  CHECK(calibrate_threshold(numbers(1, 10), {.conformal_alpha = 1.0}).threshold == 10);
  const auto few = calibrate_threshold(numbers(1, 18), {.conformal_alpha = 0.05});
  CHECK(few.threshold == -std::numeric_limits<double>::infinity());
  CHECK(few.accepted == 18);
  CHECK_THAT(few.explanation, Catch::Contains("at least 19"));
  CHECK(few.policy == "conformal");
}

TEST_CASE("the conformal rule rejects at most alpha of new ID scores, ties included", "[threshold]") {
  // Leave-one-out over all choices of the new score is exactly the statement that exchangeability makes.
  std::mt19937_64 g(9);
  for (int trial = 0; trial < 300; ++trial) {
    const std::size_t n = 2 + g() % 60;
    std::vector<double> all(n);
    for (double& x : all) x = static_cast<double>(g() % (trial % 2 == 0 ? 7 : 1000000));
    for (const double alpha : {0.05, 0.1, 0.25, 0.5}) {
      int rejected = 0;
      for (std::size_t i = 0; i < n; ++i) {
        std::vector<double> rest(all);
        rest.erase(rest.begin() + static_cast<std::ptrdiff_t>(i));
        rejected += all[i] < calibrate_threshold(rest, {.conformal_alpha = alpha}).threshold;
      }
      REQUIRE(rejected <= alpha * static_cast<double>(n));
    }
  }
}

TEST_CASE("the interval equals scipy's Clopper-Pearson bounds", "[threshold]") {
  std::ifstream in(std::string(NEGOOD_GOLDEN_DIR) + "/threshold_confidence.txt");
  std::string line;
  int rows = 0;
  while (std::getline(in, line)) {
    if (line.empty() || line[0] == '#') continue;
    std::istringstream fields(line);
    index_type k = 0, n = 0;
    double confidence = 0, lower = 0, upper = 0;
    fields >> k >> n >> confidence >> lower >> upper;
    const auto ci = clopper_pearson(k, n, confidence);
    INFO(line << " got " << ci.lower << " " << ci.upper);
    CHECK(std::abs(ci.lower - lower) <= 1e-11);
    CHECK(std::abs(ci.upper - upper) <= 1e-11);
    ++rows;
  }
  CHECK(rows == 30);
}

TEST_CASE("a threshold refuses bad levels and scores", "[threshold][faults]") {
  const auto id = numbers(1, 10);
  const double nan = std::numeric_limits<double>::quiet_NaN(), inf = std::numeric_limits<double>::infinity();
  for (const double level : {0.0, 1.5, -1.0, nan}) {
    CHECK(code_of([&] { calibrate_threshold(id, {.id_recall = level}); }) == "negood.threshold.2");
    CHECK(code_of([&] { calibrate_threshold(id, {.conformal_alpha = level}); }) == "negood.threshold.2");
  }
  CHECK(code_of([&] { calibrate_threshold(id, {.confidence = 1.0}); }) == "negood.threshold.3");
  CHECK(code_of([&] { clopper_pearson(3, 2); }) == "negood.threshold.4");
  CHECK(code_of([&] { clopper_pearson(0, 0); }) == "negood.threshold.4");
  CHECK(code_of([&] { calibrate_threshold(std::vector<double>{1, nan}); }) == "negood.metric.1");
  CHECK(code_of([&] { calibrate_threshold(std::vector<double>{1, -inf}); }) == "negood.metric.2");
  CHECK(calibrate_threshold(std::vector<double>{1, -inf}, {.id_recall = 0.5, .allow_infinite = true}).threshold == 1);
}
