// Log-sum-exp and softmax at the edges of the number range.
#include "catch.hpp"

#include <negood/backend/eigen.hpp>
#include <negood/backend/reference.hpp>
#include <negood/math/logsumexp.hpp>

#include <cmath>
#include <limits>

using namespace negood;

TEMPLATE_TEST_CASE("logsumexp and softmax survive extreme rows", "[math]", reference::context<double>,
                   reference::context<float>, eigen::context<double>, eigen::context<float>) {
  using real = typename TestType::real;
  TestType ctx;
  constexpr real huge = std::numeric_limits<real>::max(), infinity = std::numeric_limits<real>::infinity();
  const auto lse = [&](std::vector<real> row) {
    const auto n = static_cast<index_type>(row.size());
    return ctx.to_host(logsumexp_rows(ctx, ctx.from_host(host_matrix<real>(1, n, std::move(row)).view())))(0, 0);
  };
  const auto softmax = [&](std::vector<real> row) {
    const auto n = static_cast<index_type>(row.size());
    return ctx.to_host(softmax_rows(ctx, ctx.from_host(host_matrix<real>(1, n, std::move(row)).view()))).values();
  };
  const real small = sizeof(real) == 8 ? real(1e-15) : real(1e-6);

  CHECK(lse({real(-3.5)}) == real(-3.5));  // one entry: exactly itself
  CHECK(lse({1000, 1000}) == Approx(1000 + std::log(2.0)).epsilon(small));
  CHECK(lse({-1000, -1000, -1000}) == Approx(-1000 + std::log(3.0)).epsilon(small));
  CHECK(lse({huge, -huge}) == huge);
  CHECK(lse({0, -infinity}) == 0);
  CHECK(lse({-infinity, 5, -infinity}) == 5);
  CHECK(lse(std::vector<real>(4096, 0)) == Approx(std::log(4096.0)).epsilon(10 * small));

  CHECK(softmax({7}) == std::vector<real>{1});
  CHECK(softmax({huge, -huge}) == std::vector<real>{1, 0});
  CHECK(softmax({-infinity, 0}) == std::vector<real>{0, 1});
  const auto half = softmax({-2000, -2000});
  CHECK(half[0] == Approx(0.5).epsilon(4 * small));
  CHECK(half[0] == half[1]);

  // Logits of CLIP at scale 100: a shift of the row changes nothing but rounding.
  std::vector<real> row, shifted;
  for (int i = 0; i < 1000; ++i) {
    row.push_back(static_cast<real>(30 * std::sin(i * 0.7)));
    shifted.push_back(row.back() - 32);
  }
  const auto a = softmax(row), b = softmax(shifted);
  double total = 0, worst = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    total += static_cast<double>(a[i]);
    worst = std::max(worst, std::abs(static_cast<double>(a[i]) - static_cast<double>(b[i])));
  }
  CHECK(total == Approx(1).epsilon(100 * small));
  CHECK(worst < 20 * static_cast<double>(small));
}

TEST_CASE("logsumexp of no rows is no rows", "[math]") {
  reference::context<double> ctx;
  CHECK(logsumexp_rows(ctx, ctx.zeros(0, 5)).rows() == 0);
  CHECK(softmax_rows(ctx, ctx.zeros(0, 5)).cols() == 5);
}
