// CSP's and CLIPScope's selection and the quota by part of speech, against brute force in double.
#include "catch.hpp"
#include "code_of.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/select/both_ends.hpp>
#include <negood/select/csp.hpp>

#include <map>
#include <numeric>
#include <set>

using namespace negood;

namespace {

host_matrix<float> unit_rows(index_type rows, index_type cols, std::uint64_t index) {
  random_sequence draw(9, random_purpose::test, index);
  host_matrix<float> m(rows, cols);
  for (index_type r = 0; r < rows; ++r) {
    double square = 0;
    for (float& x : m.row(r)) {
      x = static_cast<float>(draw.next_normal());
      square += double(x) * double(x);
    }
    for (float& x : m.row(r)) x = static_cast<float>(double(x) / std::sqrt(square));
  }
  return m;
}

struct problem {
  host_matrix<float> candidates, texts;
  std::vector<std::string> words, tags;
};

/// Words of which every eleventh is nearly a class text, and of which some stand twice, so that keys tie.
problem make_problem(index_type n, index_type classes) {
  problem p{unit_rows(n, 24, 1), unit_rows(classes, 24, 2), {}, {}};
  for (index_type i = 0; i < n; ++i) {
    p.words.push_back("w" + std::to_string((7919 * i) % n));  // not in the order of the rows
    p.tags.push_back(i % 5 == 0 ? "a" : "n");
    if (i % 11 == 3) std::ranges::copy(p.texts.row(i % classes), p.candidates.row(i).begin());
    if (i % 11 == 4) std::ranges::copy(p.candidates.row(i - 2), p.candidates.row(i).begin());
  }
  return p;
}

std::vector<double> cosines(const problem& p, index_type i) {
  std::vector<double> out;
  for (index_type c = 0; c < p.texts.rows(); ++c) {
    double sum = 0;
    for (index_type d = 0; d < p.texts.cols(); ++d) sum += double(p.candidates(i, d)) * double(p.texts(c, d));
    out.push_back(sum);
  }
  std::ranges::sort(out);
  return out;
}

/// All rows by (late, key, word, row).
struct ranked {
  bool late;
  double key;
  std::string word;
  index_type row;
  auto tie() const { return std::tie(late, key, word, row); }
};
template <class Key>
std::vector<ranked> ranking(const problem& p, Key&& key) {
  std::vector<ranked> out;
  for (index_type i = 0; i < p.candidates.rows(); ++i) {
    const auto [late, k] = key(cosines(p, i));
    out.push_back({late, k, p.words[static_cast<std::size_t>(i)], i});
  }
  std::ranges::sort(out, [](const ranked& a, const ranked& b) { return a.tie() < b.tie(); });
  return out;
}

std::vector<index_type> rows_of(const std::vector<selected_word>& words) {
  std::vector<index_type> out;
  for (const auto& w : words) out.push_back(w.index);
  return out;
}

using contexts = std::tuple<reference::context<double>, eigen::context<float>>;

}  // namespace

TEMPLATE_LIST_TEST_CASE("CSP: percentile, near words last, a share of each part of speech", "[select]", contexts) {
  TestType ctx;
  const auto p = make_problem(330, 37);
  const auto expected = ranking(p, [](const std::vector<double>& cosine) {
    const double position = 0.95 * static_cast<double>(cosine.size() - 1), low = std::floor(position);
    const auto k = static_cast<std::size_t>(low);
    return std::pair(cosine.back() > 0.95, cosine[k] + (position - low) * (cosine[k + 1] - cosine[k]));
  });
  const auto near = std::ranges::count_if(expected, [](const ranked& r) { return r.late; });
  REQUIRE(near >= 30);
  for (const double fraction : {0.15, 0.97, 1.0}) {
    CAPTURE(fraction);
    const auto got = select_by_csp(ctx, p.candidates.view(), p.words, p.texts.view(),
                                   {.fraction = fraction, .tags = std::span<const std::string>(p.tags)});
    CHECK(got.too_near == near);
    std::vector<index_type> wanted;
    for (const std::string tag : {"a", "n"}) {
      auto places = static_cast<std::ptrdiff_t>(std::floor(fraction * double(std::ranges::count(p.tags, tag)) + 1e-9));
      for (const auto& r : expected)
        if (p.tags[static_cast<std::size_t>(r.row)] == tag && places-- > 0) wanted.push_back(r.row);
    }
    CHECK(rows_of(got.words) == wanted);
    for (const auto& w : got.words)
      CHECK(
          w.key ==
          Approx(std::ranges::find_if(expected, [&](const ranked& r) { return r.row == w.index; })->key).margin(1e-12));
  }
  const auto one = select_by_csp(ctx, p.candidates.view(), p.words, p.texts.view(), {.count = 300});
  std::vector<index_type> wanted;
  for (std::size_t i = 0; i < 300; ++i) wanted.push_back(expected[i].row);
  CHECK(rows_of(one.words) == wanted);
  // Without the rule on near words the copies of class texts, whose percentile is ordinary, would stand among the rest.
  const auto without = select_by_csp(ctx, p.candidates.view(), p.words, p.texts.view(), {.too_near = 2, .count = 300});
  CHECK(without.too_near == 0);
  CHECK(rows_of(without.words) != wanted);
}

TEMPLATE_LIST_TEST_CASE("CLIPScope: both ends of the ranking by the 50th-largest cosine", "[select]", contexts) {
  TestType ctx;
  for (const index_type classes : {80, 50, 12}) {
    CAPTURE(classes);
    const auto p = make_problem(200, classes);
    for (const auto& [count, rank] : {std::pair<index_type, index_type>{31, 50}, {20, 1}, {500, 50}}) {
      CAPTURE(count, rank);
      const auto order = ranking(p, [&, rank = rank](const std::vector<double>& cosine) {
        const auto r = std::min(rank, static_cast<index_type>(cosine.size()));
        return std::pair(false, cosine[cosine.size() - static_cast<std::size_t>(r)]);
      });
      const auto got =
          select_both_ends(ctx, p.candidates.view(), p.words, p.texts.view(), {.count = count, .rank = rank});
      const auto total = std::min<index_type>(count, 200);
      std::vector<index_type> farthest, nearest;
      for (index_type i = 0; i < total - total / 2; ++i) farthest.push_back(order[static_cast<std::size_t>(i)].row);
      std::vector<ranked> rest(order.begin() + static_cast<std::ptrdiff_t>(farthest.size()), order.end());
      std::ranges::sort(rest, [](const ranked& a, const ranked& b) {
        return std::pair(-a.key, std::pair(a.word, a.row)) < std::pair(-b.key, std::pair(b.word, b.row));
      });
      for (index_type i = 0; i < total / 2; ++i) nearest.push_back(rest[static_cast<std::size_t>(i)].row);
      CHECK(rows_of(got.farthest) == farthest);
      CHECK(rows_of(got.nearest) == nearest);
      std::set<index_type> both(farthest.begin(), farthest.end());
      both.insert(nearest.begin(), nearest.end());
      CHECK(static_cast<index_type>(both.size()) == total);
    }
  }
}

TEST_CASE("the quota takes the first of each tag: by count, by share, with few words", "[select]") {
  std::vector<selected_word> order;
  const std::vector<std::string> tags{"n", "a", "n", "n", "a", "n", "n"};
  for (const index_type row : {6, 1, 0, 4, 2, 3, 5}) order.push_back({row, double(order.size())});
  const auto rows = [&](quota_options o, std::span<const std::string> t) {
    return rows_of(first_of_each_tag(order, t, o));
  };
  const std::span<const std::string> all(tags);
  CHECK(rows({.count = 3}, {}) == std::vector<index_type>{6, 1, 0});
  CHECK(rows({.count = 4}, all) == std::vector<index_type>{1, 6, 0, 2});  // floor(4 * 2 / 7) = 1 adjective
  CHECK(rows({.count = 100}, all) == std::vector<index_type>{1, 4, 6, 0, 2, 3, 5});
  CHECK(rows({.fraction = 0.5}, all) == std::vector<index_type>{1, 6, 0});
  CHECK(rows({.fraction = 0.1}, all).empty());
  CHECK(code_of([&] { rows({}, all); }) == "negood.select.3");
  CHECK(code_of([&] { rows({.fraction = 1.5}, all); }) == "negood.select.3");
  CHECK(code_of([&] { rows({.count = -1}, all); }) == "negood.select.3");
  CHECK(code_of([&] { rows({.count = 2}, all.first(3)); }) == "negood.select.1");
}

TEST_CASE("an adjective's category depends on seed and row alone, and all are drawn", "[select]") {
  std::map<std::string, int> drawn;
  for (index_type row = 0; row < 1400; ++row) {
    const auto text = join_super_category("striped", 7, row);
    CHECK(text == join_super_category("striped", 7, row));
    CHECK(text.starts_with("striped "));
    ++drawn[text.substr(8)];
  }
  CHECK(drawn.size() == csp_super_categories.size());
  for (const auto& [word, times] : drawn) CHECK((times > 60 && times < 150));  // 100 expected, deviation 9.6
  index_type other = 0;
  for (index_type row = 0; row < 100; ++row)
    other += join_super_category("x", 7, row) != join_super_category("x", 8, row);
  CHECK(other > 80);
  const std::vector<std::string_view> own{"thing"};
  CHECK(join_super_category("blue", 1, 5, own) == "blue thing");
  CHECK(code_of([&] { join_super_category("blue", 1, 5, {}); }) == "negood.select.3");
}

TEST_CASE("what the variants cannot work on is refused", "[select]") {
  reference::context<double> ctx;
  auto p = make_problem(20, 6);
  const auto csp = [&](const csp_options& o = {}) {
    return select_by_csp(ctx, p.candidates.view(), p.words, p.texts.view(), o);
  };
  const auto ends = [&](const both_ends_options& o = {}) {
    return select_both_ends(ctx, p.candidates.view(), p.words, p.texts.view(), o);
  };
  CHECK(code_of([&] { csp({.fraction = 0}); }) == "negood.select.3");
  CHECK(code_of([&] { csp({.percentile = 1.5}); }) == "negood.select.3");
  CHECK(code_of([&] { csp({.tags = std::span<const std::string>(p.tags).first(4)}); }) == "negood.select.1");
  CHECK(code_of([&] { ends({.count = 0}); }) == "negood.select.3");
  CHECK(code_of([&] { ends({.rank = 0}); }) == "negood.select.3");
  p.candidates(3, 3) = std::numeric_limits<float>::quiet_NaN();
  CHECK(code_of([&] { csp(); }) == "negood.select.4");
  CHECK(code_of([&] { ends(); }) == "negood.select.4");
  p.texts = host_matrix<float>(0, 24);
  CHECK(code_of([&] { csp(); }) == "negood.select.2");
  CHECK(code_of([&] { ends(); }) == "negood.select.2");
  p.candidates = host_matrix<float>(0, 24);
  p.words.clear();
  CHECK(code_of([&] { csp(); }) == "negood.select.2");
  CHECK(code_of([&] { ends(); }) == "negood.select.2");
}
