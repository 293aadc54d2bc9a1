// What is particular to the Eigen backend: accuracy of its vector functions, its tensors, its split products.
#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>

#include <cmath>
#include <random>
#include <type_traits>

#include "catch.hpp"

using namespace negood;

namespace {

/// The largest relative error of f on float vectors against g on doubles, over evenly spaced arguments.
template <class F, class G>
double worst(F f, G g, double low, double high) {
  double out = 0;
  constexpr index_type lanes = eigen::simd::lanes<float>;
  for (index_type i = 0; i < 200000; i += lanes) {
    float x[static_cast<std::size_t>(lanes)], y[static_cast<std::size_t>(lanes)];
    for (index_type l = 0; l < lanes; ++l)
      x[l] = static_cast<float>(low + (high - low) * static_cast<double>(i + l) / 200000.0);
    eigen::simd::store<float>(y, f(eigen::simd::load<float>(x)));
    for (index_type l = 0; l < lanes; ++l) {
      const double exact = g(static_cast<double>(x[l]));
      out = std::max(out, std::abs(static_cast<double>(y[l]) - exact) / std::max(std::abs(exact), 1e-37));
    }
  }
  return out;
}

using vec = eigen::simd::vec<float>;
constexpr double ulp = 1.2e-7;  // the distance of floats just above 1

}  // namespace

TEST_CASE("exp, log and their kin are within a few units of the last place", "[eigen]") {
  namespace simd = eigen::simd;
  CHECK(worst([](vec x) { return simd::exp(x); }, [](double x) { return std::exp(x); }, -87, 88) < 1 * ulp);
  CHECK(worst([](vec x) { return simd::log(x); }, [](double x) { return std::log(x); }, 1e-30, 3) < 1 * ulp);
  CHECK(worst([](vec x) { return simd::log(x); }, [](double x) { return std::log(x); }, 0.9, 1.1) < 1 * ulp);
  CHECK(worst([](vec x) { return simd::log1p_unit(x); }, [](double x) { return std::log1p(x); }, 1e-6, 1) < 2 * ulp);
  CHECK(worst([](vec x) { return simd::sigmoid<float>(x); }, [](double x) { return 1 / (1 + std::exp(-x)); }, -80, 80) <
        2 * ulp);
  // The lower tail keeps its relative accuracy as long as the square of x does.
  const auto phi = [](double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); };
  CHECK(worst([](vec x) { return simd::normal_cdf(x).cdf; }, phi, -2, 10) < 8 * ulp);
}

TEST_CASE("small arguments of exp give subnormal numbers, then zero", "[eigen]") {
  namespace simd = eigen::simd;
  for (const float x : {-88.0f, -95.0f, -100.0f, -103.0f})
    CHECK(simd::exp(simd::splat(x))[0] == Approx(std::exp(x)).margin(1.5e-45));
  CHECK(simd::exp(simd::splat(-110.0f))[0] == 0.0f);
  CHECK(simd::log(simd::splat(1e-40f))[0] == Approx(std::log(1e-40f)));
}

TEST_CASE("a tensor moves and is not copied by accident", "[eigen]") {
  using tensor = eigen::tensor<float>;
  STATIC_REQUIRE(std::is_nothrow_move_constructible_v<tensor>);
  STATIC_REQUIRE(std::is_nothrow_move_assignable_v<tensor>);
  STATIC_REQUIRE_FALSE(std::is_copy_constructible_v<tensor>);
  eigen::context<float> ctx({.threads = 1});
  auto a = ctx.zeros(3, 4);
  a.matrix()(2, 3) = 5;
  const float* where = a.data();
  CHECK(reinterpret_cast<std::uintptr_t>(where) % 64 == 0);
  auto b = std::move(a);
  CHECK(b.data() == where);
  CHECK(b.row(2)[3] == 5);
  CHECK(a.rows() == 0);
  CHECK_THROWS_AS(ctx.zeros(index_type{1} << 40, index_type{1} << 40), negood::error);
  CHECK_THROWS_AS(ctx.zeros(-1, 2), negood::error);
}

TEST_CASE("zeros are zero in memory used before", "[eigen]") {
  eigen::context<float> ctx({.threads = 1});
  for (int i = 0; i < 3; ++i) {
    auto t = ctx.zeros(50, 41);
    CHECK(t.matrix().cwiseAbs().maxCoeff() == 0);
    t.matrix().setConstant(7);
  }
}

TEST_CASE("indices and blocks outside a matrix are refused", "[eigen]") {
  eigen::context<float> ctx({.threads = 1});
  auto t = ctx.zeros(4, 5);
  const std::vector<index_type> low{-1}, high{4};
  CHECK_THROWS_WITH(ctx.gather_rows(t, low), Catch::Contains("negood.eigen.2"));
  CHECK_THROWS_WITH(ctx.gather_rows(t, high), Catch::Contains("negood.eigen.2"));
  CHECK_THROWS_WITH(ctx.scatter_add_rows(t, high, ctx.zeros(1, 5)), Catch::Contains("negood.eigen.2"));
  CHECK_THROWS_WITH(ctx.block(t, 1, 1, 4, 1), Catch::Contains("negood.eigen.3"));
  CHECK_THROWS_WITH(ctx.paste(t, ctx.zeros(2, 2), 0, 4), Catch::Contains("negood.eigen.3"));
}

TEST_CASE("two bfloat16 halves give products nearly as good as float", "[eigen]") {
  std::mt19937 g(3);
  std::normal_distribution<float> normal;
  // Unit rows of length 512, as text and image features are.
  const auto unit_rows = [&](index_type n) {
    host_matrix<float> m(n, 512);
    for (index_type r = 0; r < n; ++r) {
      double square = 0;
      for (float& x : m.row(r)) {
        x = normal(g);
        square += static_cast<double>(x) * x;
      }
      for (float& x : m.row(r)) x = static_cast<float>(x / std::sqrt(square));
    }
    return m;
  };
  const auto a = unit_rows(40), b = unit_rows(90);
  reference::context<double> exact;
  const auto wanted = exact.matmul_nt(cast<double>(a), cast<double>(b));
  const auto error = [&](precision p) {
    eigen::context<float> ctx({.threads = 1, .precision = p});
    const auto got = ctx.to_host(ctx.matmul_nt(ctx.from_host(a.view()), ctx.from_host(b.view())));
    double out = 0;
    for (index_type i = 0; i < got.size(); ++i) out = std::max(out, std::abs(got.data()[i] - wanted.data()[i]));
    return std::pair(out, ctx.precision());
  };
  CHECK(error(precision::f32).first < 2e-7);
  CHECK(error(precision::bf16x3).first < 2e-6);
  const auto [half, used] = error(precision::bf16);
  CHECK(half < 2e-3);
  if (used == precision::bf16)
    CHECK(half > 1e-5);  // it really rounded
  else
    WARN("no bfloat16 matrix unit here: bf16 and bf16x3 were computed in f32");
}

TEST_CASE("a number that is not finite is seen in every precision", "[eigen]") {
  for (const precision p : {precision::f32, precision::bf16x3, precision::bf16}) {
    eigen::context<float> ctx({.threads = 1, .precision = p});
    for (const float bad : {INFINITY, -INFINITY, NAN}) {
      host_matrix<float> x(3, 64, 0.5f), w(64, 64, 0.25f);
      x(1, 40) = bad;
      const auto y = ctx.to_host(ctx.matmul(ctx.from_host(x.view()), ctx.freeze(ctx.from_host(w.view()))));
      CHECK_FALSE(std::isfinite(y(1, 7)));
      CHECK(y(0, 7) == 8.0f);
      CHECK(y(2, 7) == 8.0f);
    }
  }
}

TEST_CASE("a double context always multiplies in double", "[eigen]") {
  eigen::context<double> ctx({.threads = 1, .precision = precision::bf16});
  CHECK(ctx.precision() == precision::f64);
}
