// Bytes do not depend on the number of threads, nor a row's bytes on how many rows there are.
#include <negood/math/activation.hpp>
#include <negood/math/attention.hpp>
#include <negood/math/layer_norm.hpp>
#include <negood/math/linear.hpp>
#include <negood/math/logsumexp.hpp>

#include "backends.hpp"

using namespace conformance;

namespace {

constexpr index_type thread_counts[] = {1, 2, 4};

/// `call(ctx)` gives the same bytes on any number of threads.
template <class T, class Call>
void check_threads(const char* item, Call call) {
  using real = real_t<typename T::context>;
  host_matrix<real> alone;
  for (const index_type threads : thread_counts) {
    auto ctx = T::make(threads);
    const auto got = ctx.to_host(call(ctx));
    if (threads == 1) alone = got;
    INFO(T::name << ": " << item << " on " << threads << " threads");
    CHECK(same_bytes(got, alone));
  }
}

/// `call(ctx, first, count)` gives rows [first, first + count) of the whole result, whatever the batch.
template <class T, class Call>
void check_batches(const char* item, index_type rows, Call call) {
  using real = real_t<typename T::context>;
  auto first_context = T::make(1);
  const auto whole = first_context.to_host(call(first_context, 0, rows));
  for (const index_type threads : thread_counts) {
    auto ctx = T::make(threads);
    for (const index_type batch : {index_type{1}, index_type{7}, index_type{64}, rows}) {
      bool same = true;
      for (index_type r = 0; r < rows; r += batch) {
        const index_type count = std::min(batch, rows - r);
        const auto part = ctx.to_host(call(ctx, r, count));
        same = same && part.rows() == count && part.cols() == whole.cols() &&
               std::memcmp(part.data(), whole.data() + r * whole.cols(),
                           static_cast<std::size_t>(part.size()) * sizeof(real)) == 0;
      }
      INFO(T::name << ": " << item << ", batches of " << batch << " on " << threads << " threads");
      CHECK(same);
    }
  }
}

host_matrix<double> slice(const host_matrix<double>& m, index_type first, index_type count) {
  return {count, m.cols(), std::vector<double>(m.data() + first * m.cols(), m.data() + (first + count) * m.cols())};
}

}  // namespace

TEMPLATE_LIST_TEST_CASE("a row's bytes do not depend on the other rows: products", "[conformance]",
                        invariant_backends) {
  constexpr index_type rows = 333;
  struct shape {
    index_type k, n;
  };
  for (const shape s : {shape{64, 96}, shape{70, 45}, shape{520, 33}}) {
    CAPTURE(s.k, s.n);
    const auto x = values(rows, s.k, -1, 1, 40), w = values(s.k, s.n, -1, 1, 41), wt = values(s.n, s.k, -1, 1, 42);
    const auto bias = values(1, s.n, -1, 1, 43);
    check_batches<TestType>("matmul", rows, [&](auto& c, index_type r, index_type n) {
      return c.matmul(upload(c, slice(x, r, n)), upload(c, w));
    });
    check_batches<TestType>("matmul_nt", rows, [&](auto& c, index_type r, index_type n) {
      return c.matmul_nt(upload(c, slice(x, r, n)), upload(c, wt));
    });
    check_batches<TestType>("frozen matmul", rows, [&](auto& c, index_type r, index_type n) {
      return c.matmul(upload(c, slice(x, r, n)), c.freeze(upload(c, w)));
    });
    check_batches<TestType>("frozen matmul_nt", rows, [&](auto& c, index_type r, index_type n) {
      return c.matmul_nt(upload(c, slice(x, r, n)), c.freeze(upload(c, wt)));
    });
    check_batches<TestType>("linear", rows, [&](auto& c, index_type r, index_type n) {
      using B = std::remove_reference_t<decltype(c)>;
      const linear_weights<B> weights{c.freeze(upload(c, w)), upload(c, bias)};
      return linear(c, weights, upload(c, slice(x, r, n)));
    });
  }
}

TEMPLATE_LIST_TEST_CASE("a row's bytes do not depend on the other rows: rows in one pass", "[conformance]",
                        invariant_backends) {
  constexpr index_type rows = 150, d = 77;
  const auto x = values(rows, d, -3, 3, 44), y = values(rows, d, -1, 1, 45);
  const auto gain = values(1, d, 0.5, 1.5, 46), bias = values(1, d, -1, 1, 47);
  check_batches<TestType>("softmax_rows", rows, [&](auto& c, index_type r, index_type n) {
    return softmax_rows(c, upload(c, slice(x, r, n)));
  });
  check_batches<TestType>("logsumexp_rows", rows, [&](auto& c, index_type r, index_type n) {
    return logsumexp_rows(c, upload(c, slice(x, r, n)));
  });
  check_batches<TestType>("reduce_rows", rows, [&](auto& c, index_type r, index_type n) {
    return c.reduce_rows(reduction::sum{}, upload(c, slice(x, r, n)));
  });
  check_batches<TestType>("gelu", rows, [&](auto& c, index_type r, index_type n) {
    return activation(c, activation_kind::gelu, upload(c, slice(x, r, n)));
  });
  check_batches<TestType>("activation_pullback", rows, [&](auto& c, index_type r, index_type n) {
    return activation_pullback(c, activation_kind::quick_gelu, upload(c, slice(x, r, n)), upload(c, slice(y, r, n)));
  });
  check_batches<TestType>("layer_norm", rows, [&](auto& c, index_type r, index_type n) {
    using B = std::remove_reference_t<decltype(c)>;
    const layer_norm_weights<B> w{upload(c, gain), upload(c, bias)};
    return layer_norm(c, w, upload(c, slice(x, r, n)));
  });
  check_batches<TestType>("layer_norm_pullback", rows, [&](auto& c, index_type r, index_type n) {
    using B = std::remove_reference_t<decltype(c)>;
    const layer_norm_weights<B> w{upload(c, gain), upload(c, bias)};
    return layer_norm_pullback(c, w, upload(c, slice(x, r, n)), upload(c, slice(y, r, n)));
  });
}

TEMPLATE_LIST_TEST_CASE("a sequence's bytes do not depend on the other sequences", "[conformance]",
                        invariant_backends) {
  struct problem {
    index_type length, prefix;
    bool causal;
  };
  constexpr index_type heads = 2, width = 32, d = heads * width;
  for (const problem p : {problem{4, 17, true}, problem{30, 0, false}}) {
    const index_type sequences = p.length == 4 ? 150 : 20;
    const auto q = values(sequences, p.length * d, -2, 2, 50), kv = values(sequences, p.length * 2 * d, -1, 1, 51);
    const auto prefix = values(p.prefix, 2 * d, -1, 1, 52), dy = values(sequences, p.length * d, -1, 1, 53);
    // One row of these is a whole sequence; seen as [length, d] below.
    const auto rows_of = [&](const host_matrix<double>& m, index_type first, index_type count) {
      auto part = slice(m, first, count);
      const index_type cols = m.cols() / p.length;
      return host_matrix<double>(count * p.length, cols, std::move(part.values()));
    };
    const auto whole_sequences = [&](auto& c, const auto& t) {
      auto h = c.to_host(t);
      const index_type n = h.rows() / p.length, cols = h.cols() * p.length;
      using host = std::remove_reference_t<decltype(h)>;
      const host out(n, cols, std::move(h.values()));
      return c.from_host(out.view());
    };
    check_batches<TestType>("attention", sequences, [&](auto& c, index_type s, index_type n) {
      const auto layout = ragged_rows::equal(n, p.length);
      const attention_layout how{layout, heads, p.causal, query_rows::all};
      return whole_sequences(
          c, attention(c, how, upload(c, rows_of(q, s, n)), upload(c, rows_of(kv, s, n)), upload(c, prefix)));
    });
    check_batches<TestType>("attention_pullback", sequences, [&](auto& c, index_type s, index_type n) {
      const auto layout = ragged_rows::equal(n, p.length);
      const attention_layout how{layout, heads, p.causal, query_rows::all};
      auto d_prefix = c.zeros(p.prefix, 2 * d);
      const auto g = attention_pullback(c, how, upload(c, rows_of(q, s, n)), upload(c, rows_of(kv, s, n)),
                                        upload(c, prefix), upload(c, rows_of(dy, s, n)), d_prefix);
      return whole_sequences(c, g.dkv);
    });
  }
}

TEMPLATE_LIST_TEST_CASE("bytes do not depend on the number of threads", "[conformance]", invariant_backends) {
  const auto a = values(700, 130, -1, 1, 60), b = values(700, 90, -1, 1, 61);
  check_threads<TestType>("matmul_tn", [&](auto& c) { return c.matmul_tn(upload(c, a), upload(c, b)); });
  check_threads<TestType>("reduce_cols", [&](auto& c) { return c.reduce_cols(reduction::sum{}, upload(c, a)); });
  check_threads<TestType>("reduce_all", [&](auto& c) { return c.reduce_all(reduction::sum{}, upload(c, a)); });
  check_threads<TestType>("map", [&](auto& c) { return c.map(element::gelu{}, upload(c, a)); });
  check_threads<TestType>("prefix gradient", [&](auto& c) {
    constexpr index_type heads = 4, d = 64;
    const auto layout = ragged_rows::equal(175, 4);
    const attention_layout how{layout, heads, true, query_rows::all};
    const auto q = upload(c, values(700, d, -1, 1, 62)), kv = upload(c, values(700, 2 * d, -1, 1, 63));
    const auto prefix = upload(c, values(17, 2 * d, -1, 1, 64)), dy = upload(c, values(700, d, -1, 1, 65));
    auto d_prefix = c.zeros(17, 2 * d);
    attention_pullback(c, how, q, kv, prefix, dy, d_prefix);
    return d_prefix;
  });
}
