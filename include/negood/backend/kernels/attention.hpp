/// \file attention.hpp  Attention and its pullback as kernels over an index space: one query, or one key, of one head
/// each.
///
/// No probability is stored. Every sum runs over the keys of one query, or the queries of one key, in order: bytes do
/// not depend on the other sequences, nor on how the indices are spread over threads. The lanes of a team share the
/// columns of a head.
#pragma once

#include <negood/backend/kernels/rows.hpp>
#include <negood/math/attention.hpp>
#include <negood/math/ragged.hpp>

#include <memory>
#include <utility>
#include <vector>

namespace negood::kernel {

/// Which rows of kv a query sees, and which queries see a row of kv: both are ranges.
struct visibility {
  std::vector<index_type> first_key, end_key;      ///< per query
  std::vector<index_type> first_query, end_query;  ///< per row of kv

  /// `one_query`: a sequence has one query, at its last row if `at_end`, else at its first.
  static visibility of(const ragged_rows& sequences, bool causal, bool one_query, bool at_end) {
    visibility v;
    for (index_type s = 0; s < sequences.sequences(); ++s) {
      const index_type first = sequences.first(s), end = first + sequences.length(s);
      if (one_query) {
        const index_type seen = causal && !at_end ? first + 1 : end;
        v.first_key.push_back(first);
        v.end_key.push_back(seen);
        for (index_type r = first; r < end; ++r) {
          v.first_query.push_back(s);
          v.end_query.push_back(r < seen ? s + 1 : s);
        }
      } else {
        for (index_type r = first; r < end; ++r) {
          v.first_key.push_back(first);
          v.end_key.push_back(causal ? r + 1 : end);
          v.first_query.push_back(causal ? r : first);
          v.end_query.push_back(end);
        }
      }
    }
    return v;
  }
};

/// `visibility` where kernels can read it; `Indices` has data().
template <class Indices>
struct visible_ranges {
  index_type queries = 0, rows = 0;
  Indices first_key, end_key, first_query, end_query;

  template <class Upload>
  static visible_ranges of(const attention_layout& layout, Upload&& upload) {
    auto v = visibility::of(layout.sequences, layout.causal, layout.queries != query_rows::all,
                            layout.queries == query_rows::last);
    const auto queries = static_cast<index_type>(v.first_key.size()),
               rows = static_cast<index_type>(v.first_query.size());
    return {queries,
            rows,
            upload(std::move(v.first_key)),
            upload(std::move(v.end_key)),
            upload(std::move(v.first_query)),
            upload(std::move(v.end_query))};
  }
};

/// The ranges of the layouts used last. A training step sees the same few again and again, in every layer: they are
/// made and uploaded once.
template <class Indices>
class range_cache {
 public:
  using ranges = visible_ranges<Indices>;

  template <class Upload>
  std::shared_ptr<const ranges> get(const attention_layout& layout, Upload&& upload) {
    constexpr std::size_t most = 256;
    for (const entry& e : entries_)
      if (e.causal == layout.causal && e.queries == layout.queries && e.offsets == layout.sequences.offsets)
        return e.made;
    if (entries_.size() == most) entries_.erase(entries_.begin());
    entries_.push_back({layout.sequences.offsets, layout.causal, layout.queries,
                        std::make_shared<const ranges>(ranges::of(layout, upload))});
    return entries_.back().made;
  }

 private:
  struct entry {
    std::vector<index_type> offsets;
    bool causal;
    query_rows queries;
    std::shared_ptr<const ranges> made;
  };
  std::vector<entry> entries_;
};

/// The operands: q `[Q, d]`, kv `[R, 2d]` and prefix `[P, 2d]` (keys, then values).
template <class T>
struct attention_operands {
  const T *q, *kv, *prefix;
  index_type queries, prefix_rows, d, heads, width;
  T scale;  ///< 1 / sqrt(width)
  const index_type *first_key, *end_key;

  template <class Team>
  NEGOOD_HD T score(const Team& team, const T* query, const T* key) const {
    return scale * sum_of<T>(team, width, [=](index_type i) { return query[i] * key[i]; });
  }
  /// Calls visit(key) for every key a query sees; its value stands d further.
  template <class Visit>
  NEGOOD_HD void for_each_key(index_type query, index_type column, Visit&& visit) const {
    for (index_type p = 0; p < prefix_rows; ++p) visit(prefix + p * 2 * d + column);
    for (index_type r = first_key[query]; r < end_key[query]; ++r) visit(kv + r * 2 * d + column);
  }
};

/// o_t = sum_s softmax_s(<q_t, k_s> / sqrt(w)) v_s, with the largest score so far as the reference. Index: t * heads +
/// h.
template <class T>
struct attention_query {
  attention_operands<T> in;
  T* out;
  template <class Team>
  NEGOOD_HD void operator()(const Team& team, index_type task) const {
    const index_type t = task / in.heads, column = task % in.heads * in.width, w = in.width, d = in.d;
    const T* query = in.q + t * d + column;
    T* o = out + t * d + column;
    for_each(team, w, [=](index_type i) { o[i] = T(0); });
    T largest = 0, sum = 0;
    const auto& operands = in;
    in.for_each_key(t, column, [&](const T* key) {
      const T s = operands.score(team, query, key);
      const T* value = key + d;
      if (sum > T(0) && !(largest < s)) {
        const T e = std::exp(s - largest);
        sum += e;
        for_each(team, w, [=](index_type i) { o[i] += e * value[i]; });
        return;
      }
      const T shrink = sum > T(0) ? std::exp(largest - s) : T(0);
      largest = s;
      sum = sum * shrink + T(1);
      for_each(team, w, [=](index_type i) { o[i] = o[i] * shrink + value[i]; });
    });
    for_each(team, w, [=](index_type i) { o[i] = o[i] / sum; });
  }
};

/// dq_t = sum_s dS_ts k_s / sqrt(w), dS_ts = A_ts (dA_ts - mean_t), and what makes A_ts and dS_ts again for the keys:
/// the largest score, 1 / sum of exponentials, mean_t = sum_s A_ts dA_ts. Index: t * heads + h.
template <class T>
struct attention_pull_query {
  attention_operands<T> in;
  const T* d_out;
  T* dq;
  T* statistics;  ///< `[Q * heads, 3]`
  template <class Team>
  NEGOOD_HD void operator()(const Team& team, index_type task) const {
    const index_type t = task / in.heads, column = task % in.heads * in.width, w = in.width, d = in.d;
    const T *query = in.q + t * d + column, *d_o = d_out + t * d + column;
    T* to = dq + t * d + column;
    const auto& operands = in;
    const auto d_probability = [&](const T* key) {
      return sum_of<T>(team, w, [=](index_type i) { return d_o[i] * key[d + i]; });
    };
    T largest = 0, sum = 0, weighted = 0;
    in.for_each_key(t, column, [&](const T* key) {
      const T s = operands.score(team, query, key), d_a = d_probability(key);
      if (sum > T(0) && !(largest < s)) {
        const T e = std::exp(s - largest);
        sum += e;
        weighted += e * d_a;
        return;
      }
      const T shrink = sum > T(0) ? std::exp(largest - s) : T(0);
      largest = s;
      sum = sum * shrink + T(1);
      weighted = weighted * shrink + d_a;
    });
    const T per_sum = T(1) / sum, mean = weighted * per_sum;
    if (team.lane() == 0) {
      statistics[3 * task] = largest;
      statistics[3 * task + 1] = per_sum;
      statistics[3 * task + 2] = mean;
    }
    for_each(team, w, [=](index_type i) { to[i] = T(0); });
    in.for_each_key(t, column, [&](const T* key) {
      const T a = std::exp(operands.score(team, query, key) - largest) * per_sum;
      const T slope = a * (d_probability(key) - mean) * operands.scale;
      for_each(team, w, [=](index_type i) { to[i] += slope * key[i]; });
    });
  }
};

/// dk_s = sum_t dS_ts q_t / sqrt(w) and dv_s = sum_t A_ts do_t over the queries [first, end) of one key and head.
template <class T>
struct attention_key_gradient {
  attention_operands<T> in;
  const T *d_out, *statistics;
  template <class Team>
  NEGOOD_HD void add(const Team& team, const T* key, index_type head, index_type first, index_type end, T* dk) const {
    const index_type column = head * in.width, w = in.width, d = in.d;
    T* dv = dk + d;
    for (index_type t = first; t < end; ++t) {
      const T *query = in.q + t * d + column, *d_o = d_out + t * d + column;
      const T* known = statistics + 3 * (t * in.heads + head);
      const T a = std::exp(in.score(team, query, key) - known[0]) * known[1];
      const T d_a = sum_of<T>(team, w, [=](index_type i) { return d_o[i] * key[d + i]; });
      const T slope = a * (d_a - known[2]) * in.scale;
      for_each(team, w, [=](index_type i) { dk[i] += slope * query[i]; });
      for_each(team, w, [=](index_type i) { dv[i] += a * d_o[i]; });
    }
  }
};

/// The gradients of the sequences' own keys and values; `dkv` is zero before. Index: row * heads + h.
template <class T>
struct attention_pull_key {
  attention_key_gradient<T> gradient;
  const index_type *first_query, *end_query;
  T* dkv;
  template <class Team>
  NEGOOD_HD void operator()(const Team& team, index_type task) const {
    const auto& in = gradient.in;
    const index_type r = task / in.heads, head = task % in.heads, column = head * in.width;
    gradient.add(team, in.kv + r * 2 * in.d + column, head, first_query[r], end_query[r], dkv + r * 2 * in.d + column);
  }
};

/// The prefix's gradient from one block of queries; `partial` `[blocks * P, 2d]` is zero before.
/// Index: (block * P + p) * heads + h.
template <class T>
struct attention_pull_prefix {
  static constexpr index_type queries_per_block = 256;
  attention_key_gradient<T> gradient;
  T* partial;
  template <class Team>
  NEGOOD_HD void operator()(const Team& team, index_type task) const {
    const auto& in = gradient.in;
    const index_type row = task / in.heads, head = task % in.heads, column = head * in.width;
    const index_type block = row / in.prefix_rows, p = row % in.prefix_rows, first = block * queries_per_block;
    const index_type end = first + queries_per_block < in.queries ? first + queries_per_block : in.queries;
    gradient.add(team, in.prefix + p * 2 * in.d + column, head, first, end, partial + row * 2 * in.d + column);
  }
};

/// onto[i] += the sum over the blocks of partial[block, i], in order.
template <class T>
struct add_blocks {
  const T* partial;
  index_type blocks, size;
  T* onto;
  NEGOOD_HD void operator()(index_type i) const {
    T sum = onto[i];
    for (index_type b = 0; b < blocks; ++b) sum += partial[b * size + i];
    onto[i] = sum;
  }
};

}  // namespace negood::kernel
