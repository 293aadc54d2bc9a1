// Every pullback of math/ against central differences in double, on the reference and the Eigen backend.
#include "../clip/towers.hpp"
#include "catch.hpp"

#include <negood/backend/eigen.hpp>

#include <functional>

using namespace negood;

namespace {

using matrix = host_matrix<double>;

double inner(const matrix& a, const matrix& b) {
  double total = 0;
  for (index_type i = 0; i < a.size(); ++i) total += a.data()[i] * b.data()[i];
  return total;
}

/// d <f(x), cotangent> / dx by central differences.
matrix differences(const std::function<matrix(const matrix&)>& f, const matrix& x, const matrix& cotangent) {
  matrix out(x.rows(), x.cols());
  constexpr double h = 1e-5;
  for (index_type i = 0; i < x.size(); ++i) {
    matrix up = x, down = x;
    up.data()[i] += h;
    down.data()[i] -= h;
    out.data()[i] = (inner(f(up), cotangent) - inner(f(down), cotangent)) / (2 * h);
  }
  return out;
}

constexpr double limit = 1e-8;

}  // namespace

TEMPLATE_TEST_CASE("pullbacks agree with central differences", "[math]", reference::context<double>,
                   eigen::context<double>) {
  TestType ctx;
  towers::random_values random(1);
  const auto make = [&](index_type rows, index_type cols, double amplitude = 1, double centre = 0) {
    return random.matrix<double>(rows, cols, amplitude, centre);
  };
  const auto device = [&](const matrix& m) { return ctx.from_host(m.view()); };

  SECTION("layer_norm") {
    const auto gain = make(1, 7, 0.5, 1), bias = make(1, 7);
    const layer_norm_weights<TestType> w{device(gain), device(bias)};
    for (const double spread : {1.0, 0.01}) {  // at 0.01 epsilon is a tenth of the variance
      const auto x = make(5, 7, spread, 3), cotangent = make(5, 7);
      const auto expected =
          differences([&](const matrix& at) { return ctx.to_host(layer_norm(ctx, w, device(at))); }, x, cotangent);
      CHECK(towers::difference(ctx.to_host(layer_norm_pullback(ctx, w, device(x), device(cotangent))), expected) <
            (spread == 1.0 ? limit : 1e-5));
    }
  }
  SECTION("activation") {
    for (const auto kind : {activation_kind::quick_gelu, activation_kind::gelu}) {
      const auto x = make(9, 11, 6), cotangent = make(9, 11);
      const auto expected =
          differences([&](const matrix& at) { return ctx.to_host(activation(ctx, kind, device(at))); }, x, cotangent);
      CHECK(towers::difference(ctx.to_host(activation_pullback(ctx, kind, device(x), device(cotangent))), expected) <
            limit);
    }
  }
  SECTION("linear") {
    const linear_weights<TestType> w{ctx.freeze(device(make(6, 4))), device(make(1, 4))};
    const auto x = make(3, 6), cotangent = make(3, 4);
    const auto expected =
        differences([&](const matrix& at) { return ctx.to_host(linear(ctx, w, device(at))); }, x, cotangent);
    CHECK(towers::difference(ctx.to_host(ctx.matmul_nt(device(cotangent), w.weight)), expected) < limit);
  }
  SECTION("normalise_rows") {
    const auto x = make(4, 6, 1, 0.5), cotangent = make(4, 6);
    const auto expected =
        differences([&](const matrix& at) { return ctx.to_host(normalise_rows(ctx, device(at)).unit); }, x, cotangent);
    CHECK(towers::difference(
              ctx.to_host(normalise_rows_t::pullback(ctx, normalise_rows(ctx, device(x)), device(cotangent))),
              expected) < limit);
  }
  SECTION("logsumexp_rows") {
    const auto z = make(4, 9, 5), cotangent = make(4, 1);
    const auto expected =
        differences([&](const matrix& at) { return ctx.to_host(logsumexp_rows(ctx, device(at))); }, z, cotangent);
    const auto found = ctx.map_rows(element::multiply{}, softmax_rows(ctx, device(z)), device(cotangent));
    CHECK(towers::difference(ctx.to_host(found), expected) < limit);
  }
  SECTION("attention") {
    const std::vector<index_type> lengths{1, 4, 2, 6};
    const auto sequences = ragged_rows::of_lengths(lengths);
    for (const bool causal : {true, false})
      for (const auto queries : {query_rows::all, query_rows::last, query_rows::first})
        for (const index_type prefix : {0, 1, 5}) {
          if (causal && queries == query_rows::first) continue;
          CAPTURE(causal, static_cast<int>(queries), prefix);
          const attention_layout how{sequences, 2, causal, queries};
          const index_type asked = queries == query_rows::all ? sequences.rows() : sequences.sequences();
          const auto q = make(asked, 6), kv = make(sequences.rows(), 12), p = make(prefix, 12), d_o = make(asked, 6);
          const auto run = [&](const matrix& a, const matrix& b, const matrix& c) {
            return ctx.to_host(attention(ctx, how, device(a), device(b), device(c)));
          };
          auto d_prefix = ctx.zeros(prefix, 12);
          const auto g = attention_pullback(ctx, how, device(q), device(kv), device(p), device(d_o), d_prefix);
          CHECK(towers::difference(ctx.to_host(g.dq),
                                   differences([&](const matrix& at) { return run(at, kv, p); }, q, d_o)) < limit);
          CHECK(towers::difference(ctx.to_host(g.dkv),
                                   differences([&](const matrix& at) { return run(q, at, p); }, kv, d_o)) < limit);
          if (prefix > 0) {
            const auto expected = differences([&](const matrix& at) { return run(q, kv, at); }, p, d_o);
            CHECK(towers::difference(ctx.to_host(d_prefix), expected) < limit);
            // The prefix's gradient is added to what is there.
            auto twice = ctx.clone(d_prefix);
            attention_pullback(ctx, how, device(q), device(kv), device(p), device(d_o), twice);
            CHECK(towers::difference(ctx.to_host(ctx.map(element::scale{0.5}, twice)), expected) < limit);
          }
        }
  }
}

TEST_CASE("a causal query sees the prefix and nothing after itself", "[math]") {
  reference::context<double> ctx;
  towers::random_values random(2);
  const auto sequences = ragged_rows::equal(2, 5);
  const attention_layout how{sequences, 2, true, query_rows::all};
  const auto q = random.matrix<double>(10, 4), p = random.matrix<double>(3, 8);
  auto kv = random.matrix<double>(10, 8);
  const auto before = attention(ctx, how, q, kv, p);
  for (index_type c = 0; c < 8; ++c) kv(3, c) += 1;  // token 3 of the first sequence
  const auto after = attention(ctx, how, q, kv, p);
  for (index_type r = 0; r < 10; ++r) {
    const bool same = std::ranges::equal(before.row(r), after.row(r));
    CHECK(same == (r != 3 && r != 4));
  }
}
