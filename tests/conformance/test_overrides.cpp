// Every fused algorithm: against its plain form on the same backend, and against the reference in double. What a
// backend declares must be there, and what is there must be declared.
#include <negood/math/activation.hpp>
#include <negood/math/attention.hpp>
#include <negood/math/layer_norm.hpp>
#include <negood/math/linear.hpp>
#include <negood/math/logsumexp.hpp>
#include <negood/score/logit_statistics.hpp>

#include "backends.hpp"

using namespace conformance;

namespace {

using oracle = reference::context<double>;

/// `call(ctx, plain)` runs the algorithm or, if `plain`, its generic form.
template <class T, class Call>
void compare(const std::string& item, double allowed, Call call) {
  auto ctx = T::make(2);
  oracle exact;
  const auto wanted = download(exact, call(exact, true));
  check_close<T>(item, download(ctx, call(ctx, false)), wanted, allowed);
  check_close<T>(item + " plain", download(ctx, call(ctx, true)), wanted, allowed);
}

template <class B>
layer_norm_weights<B> norm_weights(B& ctx, index_type d) {
  return {upload(ctx, values(1, d, 0.5, 1.5, 20)), upload(ctx, values(1, d, -0.5, 0.5, 21))};
}

/// ctx.fused(Algorithm{}, Arguments...) is well formed.
template <class B, class Algorithm, class... Arguments>
constexpr bool accepts = requires(B& ctx, Algorithm a, Arguments&&... arguments) {
  ctx.fused(a, std::forward<Arguments>(arguments)...);
};

template <class T, class Algorithm, class... Arguments>
void check_declared(const char* name) {
  using B = typename T::context;
  INFO(T::name << ": " << name);
  constexpr bool declared = overrides<B, Algorithm>, present = accepts<B, Algorithm, Arguments...>;
  CHECK(declared == present);
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("what is declared is there, and what is there is declared", "[conformance]", every_backend) {
  using B = typename TestType::context;
  using tensor = const tensor_t<B>&;
  check_declared<TestType, logsumexp_rows_t, tensor>("logsumexp_rows");
  check_declared<TestType, softmax_rows_t, tensor>("softmax_rows");
  check_declared<TestType, layer_norm_t, const layer_norm_weights<B>&, tensor>("layer_norm");
  check_declared<TestType, layer_norm_pullback_t, const layer_norm_weights<B>&, tensor, tensor>("layer_norm_pullback");
  check_declared<TestType, linear_t, const linear_weights<B>&, tensor>("linear");
  check_declared<TestType, activation_t, activation_kind, tensor>("activation");
  check_declared<TestType, activation_pullback_t, activation_kind, tensor, tensor>("activation_pullback");
  check_declared<TestType, attention_t, const attention_layout&, tensor, tensor, tensor>("attention");
  check_declared<TestType, attention_pullback_t, const attention_layout&, tensor, tensor, tensor, tensor, tensor_t<B>&>(
      "attention_pullback");
  check_declared<TestType, logit_statistics_t, tensor, const frozen_t<B>&, double>("logit_statistics");
}

TEMPLATE_LIST_TEST_CASE("fused rows agree with their plain forms", "[conformance]", every_backend) {
  const double element = TestType::allowed.element;
  for (const index_type d : {1, 7, 16, 33, 64, 200, 512}) {
    CAPTURE(d);
    const auto z = values(19, d, -30, 30, 22), x = values(19, d, -2, 2, 23), dy = values(19, d, -1, 1, 24);
    compare<TestType>("logsumexp_rows", 4 * element, [&](auto& c, bool plain) {
      return plain ? logsumexp_rows_t::generic(c, upload(c, z)) : logsumexp_rows(c, upload(c, z));
    });
    compare<TestType>("softmax_rows", 4 * element, [&](auto& c, bool plain) {
      return plain ? softmax_rows_t::generic(c, upload(c, z)) : softmax_rows(c, upload(c, z));
    });
    if (d < 7) continue;
    compare<TestType>("layer_norm", 4 * element, [&](auto& c, bool plain) {
      const auto w = norm_weights(c, d);
      return plain ? layer_norm_t::generic(c, w, upload(c, x)) : layer_norm(c, w, upload(c, x));
    });
    compare<TestType>("layer_norm_pullback", 4 * element, [&](auto& c, bool plain) {
      const auto w = norm_weights(c, d);
      return plain ? layer_norm_pullback_t::generic(c, w, upload(c, x), upload(c, dy))
                   : layer_norm_pullback(c, w, upload(c, x), upload(c, dy));
    });
  }
  for (const auto kind : {activation_kind::gelu, activation_kind::quick_gelu}) {
    const auto f = values(13, 75, -8, 8, 25), dg = values(13, 75, -1, 1, 26);
    compare<TestType>("activation", 2 * element, [&](auto& c, bool plain) {
      return plain ? activation_t::generic(c, kind, upload(c, f)) : activation(c, kind, upload(c, f));
    });
    compare<TestType>("activation_pullback", 2 * element, [&](auto& c, bool plain) {
      return plain ? activation_pullback_t::generic(c, kind, upload(c, f), upload(c, dg))
                   : activation_pullback(c, kind, upload(c, f), upload(c, dg));
    });
  }
}

TEMPLATE_LIST_TEST_CASE("a fused linear layer agrees with its plain form", "[conformance]", every_backend) {
  struct shape {
    index_type rows, in, out;
  };
  for (const shape s : {shape{1, 64, 64}, shape{7, 20, 45}, shape{50, 96, 130}, shape{16, 512, 40}}) {
    const double size = 1.0 / std::sqrt(static_cast<double>(s.in));
    const auto x = values(s.rows, s.in, -1, 1, 27), w = values(s.in, s.out, -size, size, 28),
               b = values(1, s.out, -1, 1, 29);
    compare<TestType>("linear", TestType::allowed.product, [&](auto& c, bool plain) {
      using B = std::remove_reference_t<decltype(c)>;
      const linear_weights<B> weights{c.freeze(upload(c, w)), upload(c, b)};
      return plain ? linear_t::generic(c, weights, upload(c, x)) : linear(c, weights, upload(c, x));
    });
  }
}

TEMPLATE_LIST_TEST_CASE("fused attention and its pullback agree with their plain forms", "[conformance]",
                        every_backend) {
  struct problem {
    std::vector<index_type> lengths;
    index_type prefix, heads, width;
    bool causal;
    query_rows queries;
  };
  const problem problems[] = {
      {{3, 1, 4, 2}, 5, 2, 16, true, query_rows::all},   {{3, 1, 4, 2}, 0, 2, 16, true, query_rows::all},
      {{3, 1, 4, 2}, 17, 1, 64, true, query_rows::last}, {{5, 5}, 0, 3, 10, false, query_rows::all},
      {{5, 5}, 0, 3, 10, false, query_rows::first},      {{50, 50}, 0, 2, 64, false, query_rows::all},
      {{50, 50}, 0, 2, 64, false, query_rows::first},    {{40, 3, 30}, 20, 2, 32, true, query_rows::all},
      {{40, 3, 30}, 2, 2, 32, true, query_rows::last},   {{16}, 1, 2, 24, true, query_rows::all},
  };
  const double allowed = 4 * TestType::allowed.product;
  for (const problem& p : problems) {
    const auto rows = ragged_rows::of_lengths(p.lengths);
    const index_type d = p.heads * p.width, asking = p.queries == query_rows::all ? rows.rows() : rows.sequences();
    CAPTURE(rows.rows(), p.prefix, p.heads, p.width, p.causal);
    const attention_layout layout{rows, p.heads, p.causal, p.queries};
    const auto q = values(asking, d, -2, 2, 30), kv = values(rows.rows(), 2 * d, -1, 1, 31);
    const auto prefix = values(p.prefix, 2 * d, -1, 1, 32), d_out = values(asking, d, -1, 1, 33);
    const auto d_prefix = values(p.prefix, 2 * d, -1, 1, 34);
    compare<TestType>("attention", allowed, [&](auto& c, bool plain) {
      const auto a = upload(c, q), b = upload(c, kv), e = upload(c, prefix);
      return plain ? attention_t::generic(c, layout, a, b, e) : attention(c, layout, a, b, e);
    });
    for (const int part : {0, 1, 2})
      compare<TestType>(part == 0   ? "attention dq"
                        : part == 1 ? "attention dkv"
                                    : "attention d prefix",
                        allowed, [&](auto& c, bool plain) {
                          const auto a = upload(c, q), b = upload(c, kv), e = upload(c, prefix), o = upload(c, d_out);
                          auto onto = upload(c, d_prefix);
                          auto g = plain ? attention_pullback_t::generic(c, layout, a, b, e, o, onto)
                                         : attention_pullback(c, layout, a, b, e, o, onto);
                          return part == 0 ? std::move(g.dq) : part == 1 ? std::move(g.dkv) : std::move(onto);
                        });
  }
}

TEMPLATE_LIST_TEST_CASE("fused score statistics agree with their plain form", "[conformance]", every_backend) {
  for (const index_type images : {1, 63, 64, 130})
    for (const index_type texts : {1, 5, 700}) {
      CAPTURE(images, texts);
      const double size = 1.0 / std::sqrt(40.0);
      const auto x = values(images, 40, -size, size, 40), t = values(texts, 40, -size, size, 41);
      for (const bool maximum : {true, false})
        compare<TestType>("logit_statistics", 40 * TestType::allowed.product, [&](auto& c, bool plain) {
          const auto packed = c.freeze(upload(c, t));
          auto z = plain ? logit_statistics_t::generic(c, upload(c, x), packed, 20.0)
                         : logit_statistics(c, upload(c, x), packed, 20.0);
          return maximum ? std::move(z.maximum) : std::move(z.logsumexp);
        });
    }
}
