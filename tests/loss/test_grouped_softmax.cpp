// The grouped losses on logits: explicit softmaxes, far margins, the floor, rows of weights.
#include "catch.hpp"
#include "code_of.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/loss/grouped_softmax.hpp>
#include <negood/train/random.hpp>

using namespace negood;
namespace {

using B = reference::context<double>;
using matrix = host_matrix<double>;

matrix logits(index_type rows, index_type cols, double size) {
  matrix z(rows, cols);
  random_sequence draw(5, random_purpose::test, 0);
  for (double& v : z.values()) v = size * draw.next_normal();
  return z;
}

const std::vector<index_type> labels{2, -1, 0, -1, 1};
const std::vector<double> weights{0.5, 0.25, 0.125, 1, 2};

}  // namespace

TEST_CASE("grouped losses are means of explicit softmaxes, whatever the number of groups", "[krnft]") {
  B ctx;
  const index_type n = 4, m = 23;
  const auto z = logits(5, n + m, 3);
  for (const index_type groups : {1, 5, 7, 10, 23}) {
    const index_type size = m / groups;
    for (const double floor : {0.0, 1e-16, 1e-2}) {
      double id = 0, outlier = 0;
      for (index_type r = 0; r < 5; ++r)
        for (index_type g = 0; g < groups; ++g) {
          double inside = 0, outside = 0;
          for (index_type i = 0; i < n; ++i) inside += std::exp(z(r, i));
          for (index_type j = 0; j < size; ++j) outside += std::exp(z(r, n + g * size + j));
          const auto row = static_cast<std::size_t>(r);
          const double w = weights[row] / double(groups);
          if (labels[row] >= 0)
            id -= w * std::log(std::exp(z(r, labels[row])) / (inside + outside));
          else
            outlier += w * std::log(inside / (inside + outside) + floor);
        }
      const auto got =
          grouped_losses(ctx, z, {n, groups, size, n + m}, {labels, weights}, {.outlier_weight = 0.3, .floor = floor});
      CHECK(got.id == Approx(id).epsilon(1e-13));
      CHECK(got.outlier == Approx(outlier).epsilon(1e-13));
      // Moving all logits of a row together changes nothing, so a row's gradient sums to zero.
      for (index_type r = 0; r < 5; ++r) {
        double sum = 0;
        for (index_type j = 0; j < n + m; ++j) sum += got.dz(r, j);
        CHECK(sum == Approx(0).margin(1e-14));
        for (index_type j = n + groups * size; j < n + m; ++j) CHECK(got.dz(r, j) == 0);
      }
      // Against central differences.
      auto moved = z;
      for (index_type r = 0; r < 5; ++r)
        for (index_type j = 0; j < n + m; j += 3) {
          const auto at = [&](double v) {
            moved(r, j) = v;
            const auto l = grouped_losses(ctx, moved, {n, groups, size, n + m}, {labels, weights},
                                          {.outlier_weight = 0.3, .floor = floor});
            return l.id + 0.3 * l.outlier;
          };
          const double slope = (at(z(r, j) + 1e-6) - at(z(r, j) - 1e-6)) / 2e-6;
          moved(r, j) = z(r, j);
          CHECK(got.dz(r, j) == Approx(slope).margin(1e-8));
        }
    }
  }
}

TEST_CASE("far margins stay finite: L_n without a floor is the margin itself, with it the floor's logarithm",
          "[krnft]") {
  eigen::context<float> ctx;
  host_matrix<float> z(2, 3);
  z(0, 0) = -900, z(0, 1) = -900, z(0, 2) = 100;
  z(1, 0) = 900, z(1, 1) = -900, z(1, 2) = -100;
  const std::vector<index_type> outliers{-1, -1};
  const std::vector<double> one{1, 1};
  const auto device = ctx.from_host(z.view());
  const auto stable = grouped_losses(ctx, device, {2, 1, 1, 3}, {outliers, one}, {.outlier_weight = 1});
  CHECK(stable.outlier == Approx(-1000 + std::log(2.0)).epsilon(1e-6));
  const auto dz = ctx.to_host(stable.dz);
  CHECK(dz(0, 2) == Approx(-1));
  CHECK(dz(0, 0) == Approx(0.5));
  CHECK(dz(1, 0) == 0);
  const auto floored =
      grouped_losses(ctx, device, {2, 1, 1, 3}, {outliers, one}, {.outlier_weight = 1, .floor = 1e-16});
  CHECK(floored.outlier == Approx(std::log(1e-16)).epsilon(1e-5));
  for (const float v : ctx.to_host(floored.dz).values()) CHECK(std::abs(v) < 1e-6f);
}

TEST_CASE("without negative labels L_p is the cross-entropy of the classes", "[krnft]") {
  B ctx;
  const auto z = logits(2, 4, 2);
  const std::vector<index_type> y{3, 1};
  const std::vector<double> half{0.5, 0.5};
  double wanted = 0;
  for (index_type r = 0; r < 2; ++r) {
    double sum = 0;
    for (index_type i = 0; i < 4; ++i) sum += std::exp(z(r, i));
    wanted += 0.5 * (std::log(sum) - z(r, y[static_cast<std::size_t>(r)]));
  }
  const auto got = grouped_losses(ctx, z, {4, 0, 0, 4}, {y, half}, {});
  CHECK(got.id == Approx(wanted).epsilon(1e-14));
  double sum = 0;
  for (index_type i = 0; i < 4; ++i) sum += got.dz(0, i);
  CHECK(sum == Approx(0).margin(1e-15));
}

TEST_CASE("labels and weights that do not fit are refused", "[krnft]") {
  B ctx;
  const auto z = logits(2, 4, 1);
  const std::vector<double> w{1, 1}, short_w{1};
  const auto call = [&](std::vector<index_type> y, const std::vector<double>& weight, grouped_columns c) {
    return code_of([&] { grouped_losses(ctx, z, c, {y, weight}, {}); });
  };
  CHECK(call({0, 2}, w, {2, 1, 2, 4}) == "negood.krnft.6");
  CHECK(call({0, -2}, w, {2, 1, 2, 4}) == "negood.krnft.6");
  CHECK(call({0}, w, {2, 1, 2, 4}) == "negood.krnft.6");
  CHECK(call({0, 1}, short_w, {2, 1, 2, 4}) == "negood.krnft.6");
  CHECK(call({0, 1}, w, {2, 1, 3, 4}) == "negood.krnft.6");
  CHECK(call({0, -1}, w, {4, 0, 0, 4}) == "negood.krnft.6");
}
