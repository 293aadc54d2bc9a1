// Kernels whose row is computed by several lanes: the same values as by one lane up to rounding, the same bytes every
// time, whichever lane comes first.
#include <negood/backend/host_support.hpp>
#include <negood/backend/kernels/attention.hpp>
#include <negood/backend/kernels/order.hpp>

#include <cmath>
#include <cstring>
#include <limits>

#include "backend/thread_team.hpp"
#include "catch.hpp"

using namespace negood;
using team_test::run_rows;

namespace {

using values = std::vector<double>;

values drawn(index_type n, double low, double high, std::uint64_t seed) {
  values out(static_cast<std::size_t>(n));
  std::uint64_t state = seed * 0x9e3779b97f4a7c15ull + 1;
  for (double& x : out) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    x = low + (high - low) * static_cast<double>(state >> 40) / 16777216.0;
  }
  return out;
}

/// `kernel_onto(out)` is a row kernel that writes onto `out`, which starts with the values of `before`.
template <class KernelOnto>
void check_teams(index_type rows, const values& before, KernelOnto kernel_onto) {
  values wanted = before;
  const auto alone = kernel_onto(wanted.data());
  for (index_type r = 0; r < rows; ++r) alone(kernel::one_lane{}, r);
  for (const index_type lanes : {2, 4, 32}) {
    values got = before, again = before;
    run_rows(lanes, rows, kernel_onto(got.data()));
    run_rows(lanes, rows, kernel_onto(again.data()));
    CAPTURE(lanes);
    CHECK(std::memcmp(got.data(), again.data(), got.size() * sizeof(double)) == 0);
    double worst = 0;
    for (std::size_t i = 0; i < got.size(); ++i) worst = std::max(worst, std::abs(got[i] - wanted[i]));
    CHECK(worst < 1e-13);
  }
}

constexpr index_type rows = 3;

}  // namespace

TEST_CASE("teams compute rows as one lane does", "[kernels]") {
  for (const index_type d : {1, 5, 33, 130}) {
    CAPTURE(d);
    const auto z = drawn(rows * d, -9, 9, 1), dy = drawn(rows * d, -1, 1, 2), gain = drawn(d, 0.5, 1.5, 3),
               bias = drawn(d, -1, 1, 4);
    const values matrix(static_cast<std::size_t>(rows * d), 0.0), column(rows, 0.0);
    check_teams(rows, column, [&](double* out) { return kernel::logsumexp_row<double>{z.data(), d, out}; });
    check_teams(rows, values(2 * rows, 0.0), [&](double* out) {
      return kernel::logit_statistics_row<double>{z.data(), d, 3.0, out, out + rows};
    });
    check_teams(rows, matrix, [&](double* out) { return kernel::softmax_row<double>{z.data(), d, out}; });
    check_teams(rows, matrix, [&](double* out) {
      return kernel::layer_norm_row<double>{z.data(), gain.data(), bias.data(), d, 1e-5, out};
    });
    // A row of one column has no variance: its gradient is 0 / sqrt(epsilon), all rounding.
    if (d > 1)
      check_teams(rows, matrix, [&](double* out) {
        return kernel::layer_norm_pullback_row<double>{z.data(), gain.data(), dy.data(), d, 1e-5, out};
      });
    check_teams(rows, dy, [&](double* out) { return kernel::add_bias_row<double>{bias.data(), d, out}; });
    check_teams(rows, column, [&](double* out) {
      return kernel::reduce_row<double, reduction::sum>{{}, z.data(), d, out};
    });
    check_teams(rows, column, [&](double* out) {
      return kernel::reduce_row<double, reduction::maximum>{{}, z.data(), d, out};
    });
  }
}

TEST_CASE("teams reduce blocks of a long vector", "[kernels]") {
  using step = kernel::reduce_block<double, reduction::sum>;
  const index_type n = step::length + 1000;
  const auto a = drawn(n, -1e-2, 1e-2, 5);
  check_teams(2, values(2, 0.0), [&](double* out) { return step{{}, a.data(), n, out}; });
}

TEST_CASE("teams share the columns of a head in attention", "[kernels]") {
  const auto layout = ragged_rows::of_lengths(std::vector<index_type>{3, 1, 4});
  const auto ranges = kernel::visibility::of(layout, true, false, false);
  for (const index_type width : {5, 32, 40}) {
    CAPTURE(width);
    const index_type heads = 2, d = heads * width, n = layout.rows(), prefix = 2;
    const auto q = drawn(n * d, -2, 2, 6), kv = drawn(n * 2 * d, -1, 1, 7), p = drawn(prefix * 2 * d, -1, 1, 8),
               d_out = drawn(n * d, -1, 1, 9);
    const kernel::attention_operands<double> in{q.data(),
                                                kv.data(),
                                                p.data(),
                                                n,
                                                prefix,
                                                d,
                                                heads,
                                                width,
                                                1 / std::sqrt(static_cast<double>(width)),
                                                ranges.first_key.data(),
                                                ranges.end_key.data()};
    const auto zeros = [](index_type count) { return values(static_cast<std::size_t>(count), 0.0); };
    check_teams(n * heads, zeros(n * d), [&](double* out) { return kernel::attention_query<double>{in, out}; });
    check_teams(n * heads, zeros(n * d + 3 * n * heads), [&](double* out) {
      return kernel::attention_pull_query<double>{in, d_out.data(), out, out + n * d};
    });

    values dq = zeros(n * d), statistics = zeros(3 * n * heads);
    const kernel::attention_pull_query<double> query{in, d_out.data(), dq.data(), statistics.data()};
    for (index_type i = 0; i < n * heads; ++i) query(kernel::one_lane{}, i);
    const kernel::attention_key_gradient<double> gradient{in, d_out.data(), statistics.data()};
    check_teams(n * heads, zeros(n * 2 * d), [&](double* out) {
      return kernel::attention_pull_key<double>{gradient, ranges.first_query.data(), ranges.end_query.data(), out};
    });
    check_teams(prefix * heads, zeros(prefix * 2 * d), [&](double* out) {
      return kernel::attention_pull_prefix<double>{gradient, out};
    });
  }
}

TEST_CASE("teams find the largest entries of a row in the host's order", "[kernels]") {
  const double nan = std::nan(""), inf = std::numeric_limits<double>::infinity();
  const values rows_of_nine{1,  5,   5, -2,  0.0, -0.0, 5, 1, -7,     // ties, and both zeros
                            -1, nan, 3, inf, nan, 3,    0, 0, -inf};  // what is no number comes last
  for (const index_type k : {1, 4, 9})
    for (const index_type lanes : {1, 3, 16}) {
      CAPTURE(k, lanes);
      const auto size = static_cast<std::size_t>(2 * k);
      values got(size), wanted(size);
      std::vector<index_type> where(size), there(size);
      const kernel::top_of_row<double> top{rows_of_nine.data(), 9, k, got.data(), where.data()};
      run_rows(lanes, 2, top);
      for (index_type r = 0; r < 2; ++r)
        host::top_of_row(rows_of_nine.data() + 9 * r, 9, k, wanted.data() + k * r, there.data() + k * r);
      CHECK(where == there);
      CHECK(std::memcmp(got.data(), wanted.data(), size * sizeof(double)) == 0);
    }
}

TEST_CASE("the ranges of a layout are made once", "[kernels]") {
  kernel::range_cache<std::vector<index_type>> cache;
  index_type uploads = 0;
  const auto get = [&](const ragged_rows& rows, bool causal, query_rows queries) {
    return cache.get({rows, 1, causal, queries}, [&](std::vector<index_type> v) {
      ++uploads;
      return v;
    });
  };
  const auto two = ragged_rows::equal(2, 3), other = ragged_rows::of_lengths(std::vector<index_type>{2, 4});
  const auto first = get(two, true, query_rows::all);
  CHECK(uploads == 4);
  CHECK(first->queries == 6);
  CHECK(first->end_key == std::vector<index_type>{1, 2, 3, 4, 5, 6});
  CHECK(get(ragged_rows::equal(2, 3), true, query_rows::all) == first);
  CHECK(uploads == 4);
  CHECK(get(two, false, query_rows::all)->end_key == std::vector<index_type>{3, 3, 3, 6, 6, 6});
  CHECK(get(two, true, query_rows::last)->first_key == std::vector<index_type>{0, 3});
  CHECK(get(other, true, query_rows::all)->first_key == std::vector<index_type>{0, 0, 2, 2, 2, 2});
  CHECK(uploads == 16);
  for (index_type n = 1; n <= 300; ++n) get(ragged_rows::equal(1, n), true, query_rows::all);
  CHECK(get(two, true, query_rows::all)->end_key == first->end_key);  // the oldest was dropped and is made again
  CHECK(get(two, true, query_rows::all) != first);
}
