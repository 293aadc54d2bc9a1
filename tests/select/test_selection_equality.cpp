// Selection the quick ways against the definition where it is hard: words near the boundary, refusals at the top, ties.
#include "catch.hpp"
#include "code_of.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/select/deviation_degree.hpp>
#include <negood/train/random.hpp>

using namespace negood;
namespace {

void unit(std::span<float> row) {
  double n = 0;
  for (const float v : row) n += double(v) * double(v);
  for (float& v : row) v = static_cast<float>(v / std::sqrt(n));
}

host_matrix<float> leaning(index_type rows, index_type cols, std::uint64_t index, double lean) {
  host_matrix<float> m(rows, cols);
  random_sequence draw(41, random_purpose::test, index);
  for (index_type r = 0; r < rows; ++r) {
    for (float& v : m.row(r)) v = static_cast<float>(draw.next_normal() / std::sqrt(double(cols)));
    m(r, 0) += static_cast<float>(lean);
    unit(m.row(r));
  }
  return m;
}

struct hard_words {
  static constexpr index_type n = 5000, c = 40, width = 64;
  host_matrix<float> e = leaning(c, width, 1, 1), p = leaning(c, width, 2, 1), y = leaning(n, width, 3, 0.1);
  std::vector<std::string> words;
  inter_modal_distances classes{e.view(), p.view()};

  hard_words() {
    for (index_type i = 0; i < n; ++i) {
      words.push_back("word " + std::to_string(i * 7919 % n));
      const auto row = y.row(i);
      const auto proxy = p.row(i % c);
      if (i % 7 == 0) {  // far on average, near to one class: the first in the order of D, and refused
        std::ranges::copy(proxy, row.begin());
        row[0] = -0.1F;
        unit(row);
      } else if (i % 11 == 0) {  // on the boundary, to the last bit of a float
        const std::vector<float> start(row.begin(), row.end());
        float far = 0, near = 10;
        for (int step = 0; step < 30; ++step) {
          const float t = (far + near) / 2;
          for (std::size_t d = 0; d < row.size(); ++d) row[d] = start[d] + t * proxy[d];
          unit(row);
          (classes.margin(row).margin > 0 ? far : near) = t;
        }
      } else if (i % 13 == 0) {
        std::ranges::copy(y.row(i - 1), row.begin());
      }
    }
  }
};

}  // namespace

TEMPLATE_TEST_CASE("hard words are selected as by definition, lazily or not, in every precision", "[deviation]",
                   reference::context<double>, eigen::context<float>) {
  const hard_words q;
  const std::span<const std::string> words(q.words);
  std::vector<selected_word> passed;
  index_type boundary = 0;
  for (index_type i = 0; i < q.n; ++i) {
    double degree = 0, margin = 1e9;
    for (index_type k = 0; k < q.c; ++k) {
      double base = 0, dot = 0;
      for (index_type d = 0; d < q.width; ++d) {
        base += double(q.e(k, d)) * double(q.p(k, d));
        dot += double(q.y(i, d)) * double(q.p(k, d));
      }
      degree += (base - dot) / double(q.c);
      margin = std::min(margin, base - dot);
    }
    boundary += std::abs(margin) < 1e-7;
    if (margin > 0) passed.push_back({i, degree});
  }
  CHECK(boundary > 300);
  std::ranges::sort(passed, [&](const auto& a, const auto& b) {
    if (std::abs(a.key - b.key) > 1e-14) return a.key > b.key;
    return words[static_cast<std::size_t>(a.index)] < words[static_cast<std::size_t>(b.index)];
  });
  const auto check = [&](TestType ctx) {
    for (const index_type count : {1, 700, 2500, 5000})
      for (const bool lazy : {true, false}) {
        const auto got = select_by_deviation(ctx, q.y.view(), words, q.classes, {.count = count, .lazy = lazy});
        REQUIRE(got.words.size() == std::min(passed.size(), static_cast<std::size_t>(count)));
        bool equal = true;
        for (std::size_t k = 0; k < got.words.size(); ++k) equal = equal && got.words[k].index == passed[k].index;
        CHECK(equal);
        if (lazy && count == 700) {
          CHECK(got.tested > 1200);  // refused ones stand before them, so more than one round was needed
          CHECK(got.tested < 2500);
        }
      }
  };
  check(TestType());
  if constexpr (std::is_same_v<TestType, eigen::context<float>>) {
    check(TestType({.threads = 2, .precision = precision::bf16x3}));
    check(TestType({.precision = precision::bf16}));
  }
}

TEST_CASE("the first row with a NaN is named, whatever the number of threads", "[deviation][select]") {
  hard_words q;
  q.y(4000, 5) = std::numeric_limits<float>::quiet_NaN();
  q.y(1234, 63) = -std::numeric_limits<float>::infinity();
  for (const index_type threads : {1, 4}) {
    eigen::context<float> ctx({.threads = threads});
    const auto message = [&](auto&& f) -> std::string {
      try {
        f();
      } catch (const error& e) {
        CHECK(e.code() == "negood.select.4");
        return e.what();
      }
      return {};
    };
    const std::span<const std::string> words(q.words);
    CHECK(message([&] { select_by_deviation(ctx, q.y.view(), words, q.classes); }).find("in row 1234") !=
          std::string::npos);
    CHECK(message([&] {
            select_by_percentile(ctx, q.y.view(), words, q.e.view(), {.count = 5});
          }).find("in row 1234") != std::string::npos);
  }
}

TEST_CASE("the k-th largest is that of a sort, with ties and whatever row came before", "[select]") {
  random_sequence draw(42, random_purpose::test, 1);
  detail::largest_entries<float> largest;
  detail::largest_entries<double> wide;
  for (int round = 0; round < 300; ++round) {
    const auto n = static_cast<index_type>(1 + draw.next_below(400));
    const auto kinds = 1 + draw.next_below(round % 3 == 0 ? 5 : 100000);  // few kinds: many equals
    const double shift = round % 50 == 0 ? 1e6 : round % 7 == 0 ? -3 : 0;
    std::vector<float> x;
    for (index_type i = 0; i < n; ++i) x.push_back(static_cast<float>(double(draw.next_below(kinds)) / 1e5 + shift));
    const std::vector<double> y(x.begin(), x.end());
    auto sorted = x;
    std::ranges::sort(sorted, std::greater<>());
    const auto k = static_cast<index_type>(1 + draw.next_below(static_cast<std::uint64_t>(n)));
    CAPTURE(round, n, k, kinds, shift);
    largest.find(x, k);
    wide.find(y, k);
    REQUIRE(static_cast<index_type>(largest.positions().size()) >= k);
    for (const auto i : largest.positions()) REQUIRE(x[i] >= largest.threshold());
    REQUIRE(std::ranges::count_if(x, [&](float v) { return v >= largest.threshold(); }) ==
            static_cast<std::ptrdiff_t>(largest.positions().size()));
    REQUIRE(largest.value(x, k) == sorted[static_cast<std::size_t>(k - 1)]);
    REQUIRE(wide.value(y, k) == double(sorted[static_cast<std::size_t>(k - 1)]));
  }
}

TEST_CASE("a dot product of fixed order is exact where the definition is", "[select]") {
  for (std::size_t n : {0U, 1U, 31U, 32U, 33U, 100U, 512U}) {
    std::vector<float> a(n), b(n);
    double wanted = 0;
    for (std::size_t i = 0; i < n; ++i) {
      a[i] = static_cast<float>(i % 17) - 8;
      b[i] = static_cast<float>(i % 5) / 4;
      wanted += double(a[i]) * double(b[i]);  // all partial sums are exact
    }
    CHECK(fixed_order_dot(std::span<const float>(a), std::span<const float>(b)) == wanted);
  }
}
