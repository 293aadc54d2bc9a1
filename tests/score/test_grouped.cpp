// Grouped scores: PyTorch's permutation, the definition in long double, and the bank that scores the same.
#include "catch.hpp"
#include "code_of.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/score/grouped.hpp>
#include <negood/score/scores.hpp>
#include <negood/train/random.hpp>

#include <fstream>

using namespace negood;

TEST_CASE("the permutation of groups is PyTorch's", "[grouped]") {
  CHECK(group_permutation(10) == std::vector<index_type>{4, 1, 7, 5, 3, 9, 0, 8, 6, 2});
  CHECK(group_permutation(0).empty());
  std::ifstream in(std::string(NEGOOD_GOLDEN_DIR) + "/permutation.txt");
  int cases = 0;
  for (std::string how; in >> how; ++cases) {
    std::uint32_t seed = 0;
    index_type n = 0;
    in >> seed >> n;
    CAPTURE(how, seed, n);
    const auto got = group_permutation(n, seed);
    REQUIRE(got.size() == static_cast<std::size_t>(n));
    if (how == "all") {
      std::vector<index_type> wanted(got.size());
      for (auto& v : wanted) in >> v;
      CHECK(got == wanted);
    } else {
      std::uint64_t wanted = 0, sum = 0;
      in >> wanted;
      for (std::size_t i = 0; i < got.size(); ++i) sum += (i + 1) * static_cast<std::uint64_t>(got[i]);
      CHECK(sum == wanted);
    }
  }
  CHECK(cases == 8);
  CHECK(code_of([] { group_permutation(-1); }) == "negood.random.2");
}

TEST_CASE("the remainder is left out before the others are permuted", "[grouped]") {
  const auto five = cut_into_groups(14, 5);
  CHECK(five.each == 2);
  CHECK(five.order == group_permutation(10));
  CHECK(cut_into_groups(13, 1).order.back() == 12);
  CHECK(code_of([] { cut_into_groups(4, 5); }) == "negood.bank.2");
  CHECK(code_of([] { cut_into_groups(4, 0); }) == "negood.bank.2");
}

TEST_CASE("the grouped score is its definition in long double", "[grouped]") {
  using wide = long double;
  for (const double scale : {1.0, 100.0, 1000.0})
    for (const index_type groups : {1, 5, 7})
      for (const index_type m : {7, 14, 103}) {
        CAPTURE(scale, groups, m);
        random_sequence draw(3, random_purpose::test, static_cast<std::uint64_t>(m * 10 + groups));
        std::vector<double> known, z;
        for (int i = 0; i < 6; ++i) known.push_back(scale * draw.next_uniform(-1, 1));
        for (index_type j = 0; j < m; ++j) z.push_back(scale * draw.next_uniform(-1, 1));
        z[1] = scale;  // cosines of exactly 1 and -1
        z[2] = -scale;
        const auto cut = cut_into_groups(m, groups);
        wide top = known[0];
        for (const double v : known) top = std::max(top, wide(v));
        wide id = 0;
        for (const double v : known) id += std::exp(wide(v) - top);
        const double a = static_cast<double>(top + std::log(id));
        wide in = 0, out = 0;  // of the groups' sigmoids of both signs
        for (index_type g = 0; g < groups; ++g) {
          wide high = -2000, other = 0;
          for (index_type k = 0; k < m / groups; ++k) {
            const auto j = groups == 1 ? k : group_permutation(m - m % groups)[std::size_t(g * (m / groups) + k)];
            high = std::max(high, wide(z[std::size_t(j)]));
          }
          for (index_type k = 0; k < m / groups; ++k) {
            const auto j = groups == 1 ? k : group_permutation(m - m % groups)[std::size_t(g * (m / groups) + k)];
            other += std::exp(wide(z[std::size_t(j)]) - high);
          }
          const wide margin = top + std::log(id) - high - std::log(other);
          in += 1 / (1 + std::exp(-margin));
          out += 1 / (1 + std::exp(margin));
        }
        const double got = grouped_log_odds<double>(a, z, cut);
        CHECK(got == Approx(double(std::log(in) - std::log(out))).epsilon(1e-11).margin(1e-11));
        CHECK(probability_of_log_odds(got) == Approx(double(in / wide(groups))).epsilon(1e-11).margin(1e-300));
      }
}

TEST_CASE("a bank with the permutation scores as the groups do", "[grouped]") {
  reference::context<double> ctx;
  constexpr index_type m = 103, width = 6;
  const auto unit = [](index_type rows, std::uint64_t index) {
    host_matrix<double> out(rows, width);
    random_sequence draw(4, random_purpose::test, index);
    for (index_type r = 0; r < rows; ++r) {
      double n = 0;
      for (double& v : out.row(r)) {
        v = draw.next_normal();
        n += v * v;
      }
      for (double& v : out.row(r)) v /= std::sqrt(n);
    }
    return out;
  };
  const auto e = unit(5, 1), negatives = unit(m, 2), images = unit(9, 3);
  for (const index_type groups : {1, 5, 7}) {
    const auto bank = make_prompt_bank(ctx, ctx.from_host(e.view()), ctx.from_host(negatives.view()), 100.0, groups,
                                       group_permutation(m - m % groups));
    const auto rows = ctx.from_host(images.view());
    const auto wanted = ctx.to_host(neg_label{}(ctx, rows, bank));
    const auto a = ctx.to_host(logit_statistics(ctx, rows, bank.packed_positive, 100.0).logsumexp);
    for (index_type i = 0; i < 9; ++i) {
      std::vector<double> z;
      for (index_type j = 0; j < m; ++j) {
        double c = 0;
        for (index_type d = 0; d < width; ++d) c += images(i, d) * negatives(j, d);
        z.push_back(100 * c);
      }
      CHECK(grouped_log_odds<double>(a(i, 0), z, cut_into_groups(m, groups)) == Approx(wanted(i, 0)).epsilon(1e-10));
    }
  }
}
