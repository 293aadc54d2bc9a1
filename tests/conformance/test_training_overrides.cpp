// The fused parts of a training step: the optimiser's update, the first half of a feed-forward block, and the sort
// behind the metrics; against their plain forms and against the reference in double.
#include <negood/backend/host_support.hpp>
#include <negood/math/linear_activation.hpp>
#include <negood/math/linear_residual.hpp>
#include <negood/metric/sort_scores.hpp>
#include <negood/train/optimizer.hpp>

#include <limits>

#include "backends.hpp"

using namespace conformance;

namespace {

using oracle = reference::context<double>;

/// Three updates of one parameter; weights and both moments, one below the other.
template <class B>
host_matrix<double> updated(B& ctx, const optimizer_options& o, bool plain) {
  constexpr index_type rows = 7, cols = 45;
  auto w = upload(ctx, values(rows, cols, -1, 1, 60));
  auto state = new_optimizer_state(ctx, w);
  for (const std::uint64_t step : {61, 62, 63}) {
    const auto g = upload(ctx, values(rows, cols, -1, 1, step));
    if (plain)
      optimizer_step_t::generic(ctx, o, 0.05, w, g, state);
    else
      optimizer_step(ctx, o, 0.05, w, g, state);
  }
  CHECK(state.step == 3);
  host_matrix<double> out(3 * rows, cols);
  index_type part = 0;
  for (const auto* t : {&w, &state.first, &state.second}) {
    const auto here = download(ctx, *t);
    std::copy_n(here.data(), here.size(), out.data() + part++ * rows * cols);
  }
  return out;
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("an optimiser's update in one pass agrees with its plain form", "[conformance]",
                        every_backend) {
  for (const auto kind : {optimizer_kind::sgd, optimizer_kind::adamw}) {
    optimizer_options o;
    o.kind = kind;
    o.weight_decay = 0.1;
    auto ctx = TestType::make(2);
    oracle exact;
    const auto wanted = updated(exact, o, true);
    const char* name = kind == optimizer_kind::sgd ? "sgd step" : "adamw step";
    // The root of a mean of squares near zero makes AdamW's errors larger than those of one operation.
    const double allowed = 8 * TestType::allowed.element;
    check_close<TestType>(name, updated(ctx, o, false), wanted, allowed);
    check_close<TestType>(std::string(name) + " plain", updated(ctx, o, true), wanted, allowed);
  }
}

TEMPLATE_LIST_TEST_CASE("a linear layer with its activation agrees with its plain form", "[conformance]",
                        every_backend) {
  for (const auto kind : {activation_kind::gelu, activation_kind::quick_gelu})
    for (const index_type rows : {1, 19}) {
      constexpr index_type in = 40, out = 75;
      const auto x = values(rows, in, -1, 1, 65), w = values(in, out, -0.15, 0.15, 66), b = values(1, out, -1, 1, 67);
      const auto both = [&](auto& ctx, bool plain) {
        using B = std::remove_reference_t<decltype(ctx)>;
        const linear_weights<B> weights{ctx.freeze(upload(ctx, w)), upload(ctx, b)};
        auto v = plain ? linear_activation_t::generic(ctx, weights, kind, upload(ctx, x))
                       : linear_activation(ctx, weights, kind, upload(ctx, x));
        host_matrix<double> all(2 * rows, out);
        const auto f = download(ctx, v.f), g = download(ctx, v.g);
        std::copy_n(f.data(), f.size(), all.data());
        std::copy_n(g.data(), g.size(), all.data() + f.size());
        return all;
      };
      auto ctx = TestType::make(2);
      oracle exact;
      const auto wanted = both(exact, true);
      const double allowed = 2 * TestType::allowed.product;
      check_close<TestType>("linear_activation", both(ctx, false), wanted, allowed);
      check_close<TestType>("linear_activation plain", both(ctx, true), wanted, allowed);
    }
}

TEMPLATE_LIST_TEST_CASE("a linear layer onto a residual agrees with its plain form", "[conformance]", every_backend) {
  for (const index_type rows : {1, 19}) {
    constexpr index_type in = 40, out = 75;
    const auto a = values(rows, in, -1, 1, 55), x = values(rows, out, -2, 2, 56), w = values(in, out, -0.15, 0.15, 57),
               b = values(1, out, -1, 1, 58);
    const auto result = [&](auto& ctx, bool plain) {
      using B = std::remove_reference_t<decltype(ctx)>;
      const linear_weights<B> weights{ctx.freeze(upload(ctx, w)), upload(ctx, b)};
      return download(ctx, plain ? linear_residual_t::generic(ctx, weights, upload(ctx, a), upload(ctx, x))
                                 : linear_residual(ctx, weights, upload(ctx, a), upload(ctx, x)));
    };
    auto ctx = TestType::make(2);
    oracle exact;
    const auto wanted = result(exact, true);
    const double allowed = 2 * TestType::allowed.product;
    check_close<TestType>("linear_residual", result(ctx, false), wanted, allowed);
    check_close<TestType>("linear_residual plain", result(ctx, true), wanted, allowed);
  }
}

TEMPLATE_LIST_TEST_CASE("scores sorted where they lie give the host's metrics", "[conformance]", every_backend) {
  using real = real_t<typename TestType::context>;
  auto ctx = TestType::make(2);
  for (const index_type n : {1, 300, 5000}) {
    auto id = values(n, 1, -1, 2, 68), ood = values(n + 7, 1, -2, 1, 69);
    for (double& v : id.values()) v = std::nearbyint(v * 64) / 64;  // ties, and zeros of both signs
    for (double& v : ood.values()) v = std::nearbyint(v * 64) / 64;
    id(0, 0) = -0.0;
    const auto a = cast<real>(id), b = cast<real>(ood);
    const auto got = sort_scores(ctx, ctx.from_host(a.view()));
    const sorted_scores<real> wanted(a.values());
    REQUIRE(got.size() == n);
    CHECK(std::memcmp(got.keys(), wanted.keys(), static_cast<std::size_t>(n + 1) * sizeof(*got.keys())) == 0);
    CHECK(evaluate(ctx, ctx.from_host(a.view()), ctx.from_host(b.view())) == evaluate(a.values(), b.values()));
  }
  CHECK(sort_scores(ctx, ctx.zeros(0, 1)).empty());
}

TEMPLATE_LIST_TEST_CASE("scores that are no numbers are refused as on the host", "[conformance]", every_backend) {
  using real = real_t<typename TestType::context>;
  auto ctx = TestType::make(2);
  const auto code = [&](real odd, bool allow) -> std::string {
    host_matrix<real> m(300, 1, real(1));
    m(17, 0) = odd;
    try {
      sort_scores(ctx, ctx.from_host(m.view()), "the scores", {allow});
      return "";
    } catch (const error& e) {
      INFO(e.what());
      CHECK(std::string(e.what()).find("row 17") != std::string::npos);
      return std::string(e.code());
    }
  };
  const real nan = std::numeric_limits<real>::quiet_NaN(), inf = std::numeric_limits<real>::infinity();
  for (const real v : {nan, -nan}) {
    CHECK(code(v, false) == "negood.metric.1");
    CHECK(code(v, true) == "negood.metric.1");
  }
  for (const real v : {inf, -inf}) {
    CHECK(code(v, false) == "negood.metric.2");
    CHECK(code(v, true).empty());
  }
}

TEMPLATE_LIST_TEST_CASE("the largest entries of each row come in the host's order", "[conformance]", every_backend) {
  using real = real_t<typename TestType::context>;
  auto ctx = TestType::make(2);
  auto m = cast<real>(values(9, 33, -1, 1, 64));
  for (real& v : m.values()) v = std::nearbyint(v * 8) / 8;  // ties
  m(2, 5) = std::numeric_limits<real>::quiet_NaN();
  m(3, 7) = -real(0);
  for (const index_type k : {1, 5, 33, 50}) {
    const auto got = ctx.top_k(ctx.from_host(m.view()), k);
    const index_type kept = std::min<index_type>(k, 33);
    REQUIRE(got.values.cols() == kept);
    for (index_type r = 0; r < 9; ++r) {
      std::vector<real> best(static_cast<std::size_t>(kept));
      std::vector<index_type> where(best.size());
      host::top_of_row(m.data() + r * 33, 33, kept, best.data(), where.data());
      for (index_type j = 0; j < kept; ++j) {
        CAPTURE(r, j);
        CHECK(got.indices(r, j) == where[static_cast<std::size_t>(j)]);
      }
    }
  }
}
