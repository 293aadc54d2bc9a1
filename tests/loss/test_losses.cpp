// Every loss against its definition written as loops, and its gradient against central differences in double.
#include "catch.hpp"

#include <negood/backend/reference.hpp>
#include <negood/loss/multilabel.hpp>
#include <negood/loss/nis.hpp>
#include <negood/loss/nnd.hpp>
#include <negood/math/normalise.hpp>
#include <negood/train/random.hpp>

#include <cmath>
#include <functional>

using namespace negood;
namespace {

using B = reference::context<double>;
using matrix = host_matrix<double>;

matrix random_unit_rows(B& ctx, index_type rows, index_type cols, std::uint64_t index) {
  matrix m(rows, cols);
  random_sequence draw(7, random_purpose::test, index);
  for (double& v : m.values()) v = draw.next_normal();
  return normalise_rows(ctx, m).unit;
}

double dot(std::span<const double> a, std::span<const double> b) {
  double t = 0;
  for (std::size_t i = 0; i < a.size(); ++i) t += a[i] * b[i];
  return t;
}

double worst_difference(const std::function<double()>& value, matrix& x, const matrix& gradient) {
  double worst = 0;
  for (index_type i = 0; i < x.size(); ++i) {
    const double kept = x.data()[i], h = 1e-6;
    x.data()[i] = kept + h;
    const double above = value();
    x.data()[i] = kept - h;
    const double below = value();
    x.data()[i] = kept;
    worst = std::max(worst, std::abs((above - below) / (2 * h) - gradient.data()[i]));
  }
  return worst;
}

struct case_data {
  matrix images, positive, negative;
  std::vector<index_type> labels;
  index_type classes, p;
};

case_data make_case(B& ctx, index_type classes, index_type p) {
  case_data c{random_unit_rows(ctx, 6, 5, 1),
              random_unit_rows(ctx, classes, 5, 2),
              random_unit_rows(ctx, classes * p, 5, 3),
              {},
              classes,
              p};
  for (index_type b = 0; b < 6; ++b) c.labels.push_back((b * 5 + 1) % classes);
  return c;
}

double log_sum_exp(const std::vector<double>& z) {
  double m = z[0], t = 0;
  for (const double v : z) m = std::max(m, v);
  for (const double v : z) t += std::exp(v - m);
  return m + std::log(t);
}

constexpr double s = 13.0;

}  // namespace

TEST_CASE("cross-entropy: definition and gradient") {
  B ctx;
  auto c = make_case(ctx, 4, 1);
  double expected = 0;
  for (index_type b = 0; b < 6; ++b) {
    std::vector<double> z;
    for (index_type k = 0; k < 4; ++k) z.push_back(s * dot(c.images.row(b), c.positive.row(k)));
    expected += (log_sum_exp(z) - z[static_cast<std::size_t>(c.labels[static_cast<std::size_t>(b)])]) / 6;
  }
  const auto l = cross_entropy(ctx, c.images, c.positive, c.labels, s);
  CHECK(l.value(0, 0) == Approx(expected).epsilon(1e-13));
  CHECK(worst_difference([&] { return cross_entropy(ctx, c.images, c.positive, c.labels, s).value(0, 0); }, c.positive,
                         l.gradient) < 1e-8);
}

TEST_CASE("NIS: definition, gradient, lower bound and zero-sum gradient") {
  B ctx;
  auto c = make_case(ctx, 3, 2);
  double expected = 0;
  for (index_type b = 0; b < 6; ++b) {
    std::vector<double> z;
    double mean = 0;
    for (index_type j = 0; j < 6; ++j) {
      z.push_back(s * dot(c.images.row(b), c.negative.row(j)));
      mean += z.back() / 6;
    }
    expected += (log_sum_exp(z) - mean) / 6;
  }
  const auto l = nis(ctx, c.images, c.negative, s);
  CHECK(l.value(0, 0) == Approx(expected).epsilon(1e-13));
  CHECK(worst_difference([&] { return nis(ctx, c.images, c.negative, s).value(0, 0); }, c.negative, l.gradient) < 1e-8);
  CHECK(l.value(0, 0) >= std::log(6.0));
  // The gradient over the features sums to zero: NIS equalises, it does not repel.
  for (index_type d = 0; d < 5; ++d) {
    double total = 0;
    for (index_type j = 0; j < 6; ++j) total += l.gradient(j, d);
    CHECK(std::abs(total) < 1e-13);
  }
  // Equal features reach the bound, whatever the images.
  matrix same(6, 5);
  for (index_type j = 0; j < 6; ++j) std::ranges::copy(c.negative.row(0), same.row(j).begin());
  CHECK(nis(ctx, c.images, same, s).value(0, 0) == Approx(std::log(6.0)).epsilon(1e-13));
}

TEST_CASE("multi-label loss of the released code: definition and gradient") {
  B ctx;
  auto c = make_case(ctx, 3, 2);
  const std::vector<std::vector<index_type>> targets{{0, 1}, {2}, {}, {5, 4, 3}, {1}, {0}};
  double expected = 0;
  for (index_type b = 0; b < 6; ++b)
    for (index_type j = 0; j < 6; ++j) {
      const double z = s * dot(c.images.row(b), c.negative.row(j));
      const bool t = std::ranges::count(targets[static_cast<std::size_t>(b)], j) > 0;
      expected -= (t ? std::log(1 / (1 + std::exp(-z))) : std::log(1 / (1 + std::exp(z)))) / 36;
    }
  const auto l = multilabel(ctx, c.images, c.negative, targets, s);
  CHECK(l.value(0, 0) == Approx(expected).epsilon(1e-10));
  CHECK(worst_difference([&] { return multilabel(ctx, c.images, c.negative, targets, s).value(0, 0); }, c.negative,
                         l.gradient) < 1e-8);
}

TEST_CASE("NPD: definition and both gradients") {
  B ctx;
  for (const index_type p : {1, 2, 3}) {
    auto c = make_case(ctx, 4, p);
    double expected = 0;
    for (index_type k = 0; k < 4; ++k)
      for (index_type l = 0; l < p; ++l)
        expected -= dot(c.negative.row(k * p + l), c.positive.row(k)) / static_cast<double>(4 * p);
    const auto l = npd(ctx, c.positive, c.negative, p);
    const auto value = [&] { return npd(ctx, c.positive, c.negative, p).value(0, 0); };
    CHECK(l.value(0, 0) == Approx(expected).epsilon(1e-13));
    CHECK(worst_difference(value, c.negative, l.d_negative) < 1e-9);
    CHECK(worst_difference(value, c.positive, l.d_positive) < 1e-9);
  }
}

TEST_CASE("NND: closed form equals the sum over pairs, and its gradient") {
  B ctx;
  for (const index_type p : {2, 3, 5}) {
    auto c = make_case(ctx, 3, p);
    double pairs = 0, norms = 0;
    for (index_type k = 0; k < 3; ++k) {
      matrix mean(1, 5);
      for (index_type i = 0; i < p; ++i) {
        for (index_type d = 0; d < 5; ++d) mean(0, d) += c.negative(k * p + i, d) / static_cast<double>(p);
        for (index_type j = 0; j < p; ++j)
          if (i != j)
            pairs += dot(c.negative.row(k * p + i), c.negative.row(k * p + j)) / static_cast<double>(3 * p * (p - 1));
      }
      norms += std::sqrt(dot(mean.row(0), mean.row(0))) / 3;
    }
    const auto pairwise = nnd(ctx, c.negative, p);
    const auto mean_norm = nnd(ctx, c.negative, p, nnd_form::mean_norm);
    CHECK(pairwise.value(0, 0) == Approx(pairs).epsilon(1e-12));
    CHECK(mean_norm.value(0, 0) == Approx(norms - 1).epsilon(1e-12));
    CHECK(worst_difference([&] { return nnd(ctx, c.negative, p).value(0, 0); }, c.negative, pairwise.gradient) < 1e-9);
    CHECK(worst_difference([&] { return nnd(ctx, c.negative, p, nnd_form::mean_norm).value(0, 0); }, c.negative,
                           mean_norm.gradient) < 1e-9);
  }
}

TEST_CASE("NND: one negative a class has no pairs: value and gradient are zero, not 0/0") {
  B ctx;
  auto c = make_case(ctx, 3, 1);
  for (const auto form : {nnd_form::pairwise, nnd_form::mean_norm}) {
    const auto l = nnd(ctx, c.negative, 1, form);
    CHECK(l.value(0, 0) == 0);
    for (const double g : l.gradient.values()) CHECK(g == 0);
  }
}

TEST_CASE("losses refuse features of another width, naming both shapes") {
  B ctx;
  const auto images = random_unit_rows(ctx, 4, 5, 1), negative = random_unit_rows(ctx, 6, 7, 2);
  try {
    nis(ctx, images, negative, s);
    FAIL("accepted");
  } catch (const error& e) {
    CHECK(e.code() == "negood.shape.2");
    CHECK(std::string(e.what()).find("[4, 5]") != std::string::npos);
    CHECK(std::string(e.what()).find("[6, 7]") != std::string::npos);
  }
}
