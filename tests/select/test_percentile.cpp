// Selection by percentile distance: numpy's golden values, the order of ties, the index rule, and what is refused.
#include "catch.hpp"
#include "code_of.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/select/percentile.hpp>
#include <negood/train/random.hpp>

#include <fstream>
#include <numeric>
#include <random>

using namespace negood;

namespace {

host_matrix<float> random_unit_rows(std::mt19937_64& g, index_type rows, index_type cols) {
  std::normal_distribution<float> normal;
  host_matrix<float> m(rows, cols);
  for (index_type r = 0; r < rows; ++r) {
    float norm = 0;
    for (float& x : m.row(r)) {
      x = normal(g);
      norm += x * x;
    }
    for (float& x : m.row(r)) x /= std::sqrt(norm);
  }
  return m;
}

std::vector<std::string> numbered(index_type n) {
  std::vector<std::string> words;
  for (index_type i = 0; i < n; ++i) words.push_back("word" + std::to_string(i));
  return words;
}

}  // namespace

TEST_CASE("percentile selection equals numpy's, rows, order and keys", "[select]") {
  std::ifstream in(std::string(NEGOOD_GOLDEN_DIR) + "/percentile.txt");
  int cases = 0;
  for (std::string word, rule; in >> word; ++cases) {
    index_type m = 0, n = 0, d = 0, count = 0;
    double percentile = 0;
    in >> m >> n >> d >> percentile >> rule >> count;
    host_matrix<float> candidates(m, d), texts(n, d);
    for (float& x : candidates.values()) {
      in >> x;
      x /= 8;
    }
    for (float& x : texts.values()) {
      in >> x;
      x /= 8;
    }
    std::vector<std::string> words(static_cast<std::size_t>(m));
    for (std::string& w : words) in >> w;
    std::vector<selected_word> expected(static_cast<std::size_t>(count));
    for (selected_word& s : expected) in >> s.index;
    for (selected_word& s : expected) in >> s.key;
    REQUIRE(in);
    const auto selected =
        select_by_percentile(candidates, words, texts,
                             {.count = count,
                              .percentile = percentile,
                              .rule = rule == "floor" ? percentile_rule::floor_index : percentile_rule::interpolated});
    INFO("case " << cases);
    REQUIRE(selected.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
      REQUIRE(selected[i].index == expected[i].index);
      REQUIRE(std::abs(selected[i].key - expected[i].key) <= 1e-15);
    }
  }
  CHECK(cases == 10);
}

TEST_CASE("the floor rule takes the maximum of few ID texts, the 950th of a thousand", "[select]") {
  const host_matrix<float> one(1, 1, 1.0F);
  const std::vector<std::string> word{"w"};
  const auto key = [&](index_type n, percentile_options options) {
    host_matrix<float> texts(n, 1);
    std::iota(texts.values().begin(), texts.values().end(), 0.0F);
    return select_by_percentile(one, word, texts, options).at(0).key;
  };
  CHECK(key(1000, {.count = 1}) == 950);
  CHECK(key(10, {.count = 1}) == 9);
  CHECK(key(2, {.count = 1}) == 1);
  CHECK(key(1, {.count = 1}) == 0);
  CHECK(key(1000, {.count = 1, .rule = percentile_rule::interpolated}) == Approx(949.05).epsilon(1e-12));
  CHECK(key(100, {.count = 1, .percentile = 0.29}) == 29);  // 0.29 * 100 < 29 in floating point
}

TEST_CASE("selected words are the first of the full ranking and do not depend on the order of rows", "[select]") {
  std::mt19937_64 g(5);
  const auto candidates = random_unit_rows(g, 300, 40), texts = random_unit_rows(g, 75, 40);
  const auto words = numbered(300);
  const auto all = select_by_percentile(candidates, words, texts, {.fraction = 1.0});
  REQUIRE(all.size() == 300);
  for (std::size_t i = 1; i < all.size(); ++i) REQUIRE(all[i - 1].key <= all[i].key);
  for (const index_type count : {1, 7, 299, 1000}) {
    const auto some = select_by_percentile(candidates, words, texts, {.count = count});
    REQUIRE(some == std::vector<selected_word>(all.begin(), all.begin() + std::min<index_type>(count, 300)));
  }
  CHECK(select_by_percentile(candidates, words, texts, {.fraction = 0.15}).size() == 45);
  CHECK(select_by_percentile(candidates, words, texts, {.fraction = 0.0999}).size() == 29);

  std::vector<index_type> order(300), text_order(75);
  std::iota(order.begin(), order.end(), 0);
  std::iota(text_order.begin(), text_order.end(), 0);
  std::shuffle(order.begin(), order.end(), g);
  std::shuffle(text_order.begin(), text_order.end(), g);
  host_matrix<float> moved(300, 40), moved_texts(75, 40);
  std::vector<std::string> moved_words(300);
  for (index_type i = 0; i < 300; ++i) {
    std::copy_n(candidates.row(order[static_cast<std::size_t>(i)]).begin(), 40, moved.row(i).begin());
    moved_words[static_cast<std::size_t>(i)] = words[static_cast<std::size_t>(order[static_cast<std::size_t>(i)])];
  }
  for (index_type i = 0; i < 75; ++i)
    std::copy_n(texts.row(text_order[static_cast<std::size_t>(i)]).begin(), 40, moved_texts.row(i).begin());
  const auto again = select_by_percentile(moved, moved_words, moved_texts, {.fraction = 1.0});
  for (std::size_t i = 0; i < all.size(); ++i) {
    REQUIRE(again[i].key == all[i].key);
    REQUIRE(order[static_cast<std::size_t>(again[i].index)] == all[i].index);
  }
}

TEST_CASE("F-12: equal keys are ordered by word, then by row", "[select][faults]") {
  const host_matrix<float> same(5, 2, 0.5F), text(1, 2, 1.0F);
  const std::vector<std::string> words{"pear", "apple", "pear", "Zebra", "fig"};
  const auto s = select_by_percentile(same, words, text, {.count = 4});
  REQUIRE(s.size() == 4);
  CHECK(s[0].index == 3);
  CHECK(s[1].index == 1);
  CHECK(s[2].index == 4);
  CHECK(s[3].index == 0);
}

TEST_CASE("percentile selection refuses what does not fit", "[select][faults]") {
  host_matrix<float> candidates(3, 4, 0.5F), texts(2, 4, 0.5F);
  const host_matrix<float> narrow(2, 3), none(0, 4);
  const auto words = numbered(3);
  const percentile_options one{.count = 1};
  CHECK(code_of([&] { select_by_percentile(candidates, words, narrow, one); }) == "negood.select.1");
  CHECK(code_of([&] { select_by_percentile(candidates, numbered(2), texts, one); }) == "negood.select.1");
  CHECK(code_of([&] { select_by_percentile(candidates, words, none, one); }) == "negood.select.2");
  CHECK(code_of([&] { select_by_percentile(none, numbered(0), texts, one); }) == "negood.select.2");
  CHECK(code_of([&] { select_by_percentile(candidates, words, texts, {}); }) == "negood.select.3");
  CHECK(code_of([&] { select_by_percentile(candidates, words, texts, {.count = -1}); }) == "negood.select.3");
  CHECK(code_of([&] { select_by_percentile(candidates, words, texts, {.fraction = 1.5}); }) == "negood.select.3");
  CHECK(code_of([&] { select_by_percentile(candidates, words, texts, {.count = 1, .percentile = 1.5}); }) ==
        "negood.select.3");
  candidates(2, 1) = std::numeric_limits<float>::quiet_NaN();
  CHECK(code_of([&] { select_by_percentile(candidates, words, texts, one); }) == "negood.select.4");
  candidates(2, 1) = 0;
  texts(1, 3) = std::numeric_limits<float>::infinity();
  CHECK(code_of([&] { select_by_percentile(candidates, words, texts, one); }) == "negood.select.4");
}

TEMPLATE_TEST_CASE("through a backend's products the selection is the same, keys bit by bit", "[select]",
                   reference::context<double>, eigen::context<float>, eigen::context<double>) {
  const auto unit = [](index_type rows, index_type cols, std::uint64_t index) {
    host_matrix<float> m(rows, cols);
    random_sequence draw(11, random_purpose::test, index);
    for (index_type r = 0; r < rows; ++r) {
      double n = 0;
      for (float& v : m.row(r)) {
        v = static_cast<float>(draw.next_normal());
        n += double(v) * double(v);
      }
      for (float& v : m.row(r)) v = static_cast<float>(double(v) / std::sqrt(n));
    }
    return m;
  };
  auto words_in = unit(700, 33, 1);
  auto texts = unit(61, 33, 2);
  for (index_type r = 0; r < 700; r += 9) std::ranges::copy(words_in.row(3), words_in.row(r).begin());  // ties of words
  for (index_type r = 10; r < 30; ++r) std::ranges::copy(texts.row(4), texts.row(r).begin());           // and of texts
  std::vector<std::string> words;
  for (index_type i = 0; i < 700; ++i) words.push_back("w" + std::to_string(i * 37 % 700));
  const auto check = [&](TestType ctx) {
    for (const auto rule : {percentile_rule::floor_index, percentile_rule::interpolated})
      for (const double percentile : {0.0, 0.37, 0.95, 1.0})
        for (const index_type count : {1, 77, 700}) {
          const percentile_options o{.count = count, .percentile = percentile, .rule = rule};
          const std::span<const std::string> w(words);
          CHECK(select_by_percentile(ctx, words_in.view(), w, texts.view(), o) ==
                select_by_percentile(words_in.view(), w, texts.view(), o));
        }
  };
  check(TestType());
  if constexpr (std::is_same_v<TestType, eigen::context<float>>) {
    check(TestType({.precision = precision::bf16x3}));
    check(TestType({.precision = precision::bf16}));
  }
}
