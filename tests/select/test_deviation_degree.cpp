// InterNeg's selection: lazy, fused and by brute force, on random words and on constructed ones.
#include "catch.hpp"
#include "code_of.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/select/deviation_degree.hpp>
#include <negood/train/random.hpp>

using namespace negood;
namespace {

host_matrix<float> unit_rows(index_type rows, index_type cols, std::uint64_t index, double towards_first = 0) {
  host_matrix<float> m(rows, cols);
  random_sequence draw(7, random_purpose::test, index);
  for (index_type r = 0; r < rows; ++r) {
    double n = 0;
    std::vector<double> row;
    for (index_type d = 0; d < cols; ++d) row.push_back(draw.next_normal() + (d == 0 ? towards_first : 0));
    for (const double v : row) n += v * v;
    for (index_type d = 0; d < cols; ++d) m(r, d) = static_cast<float>(row[static_cast<std::size_t>(d)] / std::sqrt(n));
  }
  return m;
}

std::vector<std::string> numbered(index_type n) {
  std::vector<std::string> out;
  for (index_type i = 0; i < n; ++i) out.push_back("word " + std::to_string(i * 7919 % n));
  return out;
}

/// The definition, word by word and class by class.
std::vector<selected_word> by_definition(const host_matrix<float>& y, const std::vector<std::string>& words,
                                         const host_matrix<float>& e, const host_matrix<float>& p, index_type count) {
  std::vector<selected_word> passed;
  const auto dot = [&](std::span<const float> a, std::span<const float> b) {
    double s = 0;
    for (std::size_t d = 0; d < a.size(); ++d) s += double(a[d]) * double(b[d]);
    return s;
  };
  for (index_type w = 0; w < y.rows(); ++w) {
    bool candidate = true;
    double degree = 0;
    for (index_type i = 0; i < e.rows(); ++i) {
      const double excess = dot(e.row(i), p.row(i)) - dot(y.row(w), p.row(i));
      candidate = candidate && excess > 0;
      degree += excess / double(e.rows());
    }
    if (candidate) passed.push_back({w, degree});
  }
  std::ranges::sort(passed, [&](const auto& a, const auto& b) {
    if (std::abs(a.key - b.key) > 1e-12) return a.key > b.key;
    return words[static_cast<std::size_t>(a.index)] < words[static_cast<std::size_t>(b.index)];
  });
  passed.resize(std::min<std::size_t>(passed.size(), static_cast<std::size_t>(count)));
  return passed;
}

// Texts and proxies lean towards one axis and words lean a little, so that some words pass and some do not.
struct problem {
  host_matrix<float> e, p, y;
  std::vector<std::string> words;
  problem(index_type classes, index_type n, index_type width)
      : e(unit_rows(classes, width, 1, std::sqrt(double(width)))),
        p(unit_rows(classes, width, 2, std::sqrt(double(width)))),
        y(unit_rows(n, width, 3, 1)),
        words(numbered(n)) {}
};

}  // namespace

TEMPLATE_TEST_CASE("lazy, complete and literal selection agree in set and order", "[deviation]",
                   reference::context<double>, eigen::context<float>, eigen::context<double>) {
  const problem q(23, 900, 37);
  TestType ctx;
  const inter_modal_distances classes(q.e.view(), q.p.view());
  for (const index_type count : {1, 40, 300, 5000}) {
    const auto wanted = by_definition(q.y, q.words, q.e, q.p, count);
    REQUIRE(wanted.size() > (count > 1 ? 30 : 0));
    for (const bool lazy : {true, false}) {
      const auto got = select_by_deviation(ctx, q.y.view(), std::span<const std::string>(q.words), classes,
                                           {.count = count, .lazy = lazy});
      REQUIRE(got.words.size() == wanted.size());
      for (std::size_t k = 0; k < wanted.size(); ++k) {
        CHECK(got.words[k].index == wanted[k].index);
        CHECK(got.words[k].key == Approx(wanted[k].key).margin(1e-9));
      }
      index_type refused = 0;
      for (const auto v : got.vetoes) refused += v;
      CHECK(refused + got.passed == got.tested);
      if (!lazy) CHECK(got.tested == 900);
    }
  }
}

TEST_CASE("a lazy selection looks at few words and still finds the same", "[deviation]") {
  const problem q(5, 20000, 16);
  eigen::context<float> ctx;
  const inter_modal_distances classes(q.e.view(), q.p.view());
  const std::span<const std::string> words(q.words);
  const auto lazy = select_by_deviation(ctx, q.y.view(), words, classes, {.count = 100});
  const auto all = select_by_deviation(ctx, q.y.view(), words, classes, {.count = 100, .lazy = false});
  CHECK(lazy.words == all.words);
  CHECK(lazy.tested < 1000);
}

TEST_CASE("the condition is strict: a word that is a class's own text is refused, on every backend", "[deviation]") {
  problem q(9, 60, 31);
  for (index_type i = 0; i < 9; ++i) std::ranges::copy(q.e.row(i), q.y.row(3 * i).begin());
  const inter_modal_distances classes(q.e.view(), q.p.view());
  for (index_type i = 0; i < 9; ++i) CHECK(classes.margin(q.e.row(i)).margin <= 0);
  const auto check = [&](auto ctx) {
    const auto got = select_by_deviation(ctx, q.y.view(), std::span<const std::string>(q.words), classes,
                                         {.count = 60, .lazy = false});
    for (const auto& w : got.words) CHECK((w.index % 3 != 0 || w.index >= 27));
  };
  check(eigen::context<float>());
  check(eigen::context<float>({.precision = precision::bf16x3}));
  check(reference::context<double>());
}

TEST_CASE("F-12 equal degrees are ordered by word, and a cut through a tie is counted", "[deviation]") {
  problem q(3, 6, 8);
  host_matrix<float> away(6, 8);
  for (index_type r = 0; r < 6; ++r) away(r, 0) = -1;
  q.words = {"f", "b", "e", "a", "d", "c"};
  reference::context<double> ctx;
  const inter_modal_distances classes(q.e.view(), q.p.view());
  const auto got = select_by_deviation(ctx, away.view(), std::span<const std::string>(q.words), classes, {.count = 2});
  REQUIRE(got.words.size() == 2);
  CHECK(q.words[static_cast<std::size_t>(got.words[0].index)] == "a");
  CHECK(q.words[static_cast<std::size_t>(got.words[1].index)] == "b");
  CHECK(got.ties_at_boundary == 4);
}

TEST_CASE("with tags every part of speech has its share of the candidates", "[deviation]") {
  const problem q(11, 700, 29);
  std::vector<std::string> tags;
  for (index_type i = 0; i < 700; ++i) tags.push_back(i % 4 == 0 ? "a" : "n");
  eigen::context<float> ctx;
  const inter_modal_distances classes(q.e.view(), q.p.view());
  const auto got = select_by_deviation(ctx, q.y.view(), std::span<const std::string>(q.words), classes,
                                       {.count = 101, .tags = tags});
  index_type adjectives = 0, passed_adjectives = 0;
  for (const auto& w : got.words) adjectives += w.index % 4 == 0 ? 1 : 0;
  for (const auto& w : by_definition(q.y, q.words, q.e, q.p, 700)) passed_adjectives += w.index % 4 == 0 ? 1 : 0;
  REQUIRE(got.words.size() == 101);
  CHECK(adjectives == 101 * passed_adjectives / got.passed);
  for (std::size_t k = 1; k < got.words.size(); ++k) {
    if (k == static_cast<std::size_t>(adjectives)) continue;  // the nouns begin again
    CHECK(got.words[k - 1].key >= got.words[k].key);
  }
}

TEST_CASE("no candidate at all is an error that names the class", "[deviation]") {
  problem q(4, 50, 12);
  for (float& v : q.p.row(2)) v = -v;  // a class whose images are opposite to its text
  for (index_type d = 0; d < 12; ++d) q.p(2, d) = -q.e(2, d);
  reference::context<double> ctx;
  const inter_modal_distances classes(q.e.view(), q.p.view());
  try {
    select_by_deviation(ctx, q.y.view(), std::span<const std::string>(q.words), classes, {.count = 3});
    FAIL("selected something");
  } catch (const error& e) {
    CHECK(e.code() == "negood.select.6");
    CHECK(std::string(e.what()).find("refused by class 2 (50)") != std::string::npos);
  }
}

TEST_CASE("proxies are unit means of unit rows; a class without images is refused", "[deviation]") {
  host_matrix<float> images(3, 2, {3.0F, 0.0F, 0.0F, 0.5F, -2.0F, 0.0F});
  const std::vector<index_type> labels{0, 0, 1};
  const auto p = class_proxies(images, labels, 2);
  CHECK(p(0, 0) == Approx(std::sqrt(0.5)));
  CHECK(p(0, 1) == Approx(std::sqrt(0.5)));
  CHECK(p(1, 0) == -1.0F);
  CHECK(code_of([&] { class_proxies(images, labels, 3); }) == "negood.select.5");
  const std::vector<index_type> wrong{0, 2, 1};
  CHECK(code_of([&] { class_proxies(images, wrong, 2); }) == "negood.select.1");
}

TEST_CASE("shapes, numbers and options out of range are refused", "[deviation]") {
  problem q(4, 5, 6);
  reference::context<double> ctx;
  const inter_modal_distances classes(q.e.view(), q.p.view());
  const std::span<const std::string> words(q.words);
  CHECK(code_of([&] { inter_modal_distances(q.e.view(), q.y.view()); }) != "no error");
  CHECK(code_of([&] { select_by_deviation(ctx, q.y.view(), words.first(4), classes); }) == "negood.select.1");
  CHECK(code_of([&] { select_by_deviation(ctx, q.y.view(), words, classes, {.count = 0}); }) == "negood.select.3");
  q.y(2, 3) = std::numeric_limits<float>::quiet_NaN();
  CHECK(code_of([&] { select_by_deviation(ctx, q.y.view(), words, classes); }) == "negood.select.4");
}
