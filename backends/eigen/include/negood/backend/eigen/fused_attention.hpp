/// \file fused_attention.hpp  Attention over a shared prefix and ragged sequences, head by head, without temporaries.
///
/// The prefix is the same for every row that asks, so its part is one product of all queries with the prefix keys. A
/// sequence's own part is a few rows (text) or a product of its own (images).
#pragma once

#include <negood/backend/eigen/fused_rows.hpp>
#include <negood/backend/eigen/small_products.hpp>
#include <negood/math/attention.hpp>

#include <cmath>

namespace negood::eigen {

namespace detail {

/// The probabilities of some sequences in one head, and the gradient of their scores.
template <class Real>
class attention_block {
 public:
  /// Sequences [first, last) of head `head`. `kv` and `prefix` hold keys, then values.
  attention_block(const attention_layout& layout, index_type head, index_type first, index_type last,
                  const tensor<Real>& q, const tensor<Real>& kv, const tensor<Real>& prefix)
      : layout_(layout),
        d_(q.cols()),
        width_(q.cols() / layout.heads),
        column_(head * width_),
        first_(first),
        last_(last),
        prefix_rows_(prefix.rows()),
        prefix_step_(simd::whole_vectors<Real>(prefix_rows_)),
        q_(q),
        kv_(kv),
        prefix_(prefix) {
    own_offset_.push_back(0);
    for (index_type s = first_; s < last_; ++s) own_offset_.push_back(own_offset_.back() + queries(s) * step(s));
    queries_ = last_ > first_ ? query_row(last_ - 1) + queries(last_ - 1) - query_row(first_) : 0;
  }

  index_type width() const { return width_; }

  /// Fills in the probabilities.
  void compute_probabilities() {
    on_prefix_ = buffer<Real>(static_cast<std::size_t>(queries_ * prefix_step_));
    on_own_ = buffer<Real>(static_cast<std::size_t>(own_offset_.back()));
    scores(q_, 0, on_prefix_.data(), on_own_.data());
    const Real per_root_width = static_cast<Real>(1.0 / std::sqrt(static_cast<double>(width_)));
    for (index_type s = first_; s < last_; ++s)
      for (index_type t = 0; t < queries(s); ++t) {
        Real* far = prefix_row(on_prefix_, s, t);
        Real* near = own_row(on_own_, s, t);
        pad(far, near, s, t, -std::numeric_limits<Real>::infinity());  // whose exponential is 0
        softmax(far, near, step(s), per_root_width);
      }
  }

  /// o = probabilities * values.
  void values_to(tensor<Real>& out) const {
    for (index_type s = first_; s < last_; ++s)
      rows_by_columns<Real>(queries(s), width_, length(s), own_matrix(on_own_, s), own(kv_, s, d_),
                            rows_of<Real>{out.row(query_row(s)) + column_, d_}, false);
    add_prefix_product(on_prefix_, d_, out);
  }

  /// Turns `d_out` into the gradient of the scores, times 1/sqrt(w), kept beside the probabilities.
  void pull_scores(const tensor<Real>& d_out) {
    d_prefix_ = buffer<Real>(on_prefix_.size());
    d_own_ = buffer<Real>(on_own_.size());
    scores(d_out, d_, d_prefix_.data(), d_own_.data());
    const Real per_root_width = static_cast<Real>(1.0 / std::sqrt(static_cast<double>(width_)));
    using simd::vec;
    for (index_type s = first_; s < last_; ++s)
      for (index_type t = 0; t < queries(s); ++t) {
        const index_type m = prefix_step_, n = step(s);
        const Real *a = prefix_row(on_prefix_, s, t), *b = own_row(on_own_, s, t);
        Real *da = prefix_row(d_prefix_, s, t), *db = own_row(d_own_, s, t);
        pad(da, db, s, t, Real(0));
        const auto product = [](vec<Real> x, vec<Real> y) { return x * y; };
        const Real mean = sum_over<Real>(m, product, filled<Real>{a, 0}, filled<Real>{da, 0}) +
                          sum_over<Real>(n, product, filled<Real>{b, 0}, filled<Real>{db, 0});
        const auto slope = [&](vec<Real> p, vec<Real> dp) { return p * (dp - mean) * per_root_width; };
        simd::transform<Real>(m, da, slope, a, static_cast<const Real*>(da));
        simd::transform<Real>(n, db, slope, b, static_cast<const Real*>(db));
      }
  }

  /// dq, dk and dv of the sequences' own rows.
  void gradients_to(const tensor<Real>& d_out, tensor<Real>& dq, tensor<Real>& dkv) const {
    for (index_type s = first_; s < last_; ++s) {
      const index_type rows = length(s), asking = queries(s);
      rows_by_columns<Real>(asking, width_, rows, own_matrix(d_own_, s), own(kv_, s, 0),
                            rows_of<Real>{dq.row(query_row(s)) + column_, d_}, false);
      const auto key_side = [&](const buffer<Real>& weights, const tensor<Real>& from, index_type to) {
        const strided<Real> w = own_matrix(weights, s);
        rows_by_columns<Real>(rows, width_, asking, {w.data, w.col_step, w.row_step}, queries_of(from, s),
                              rows_of<Real>{dkv.row(layout_.sequences.first(s)) + to + column_, 2 * d_}, false);
      };
      key_side(d_own_, q_, 0);
      key_side(on_own_, d_out, d_);
    }
    add_prefix_product(d_prefix_, 0, dq);
  }

  /// Adds the prefix's dk and dv, row after row of the queries.
  void add_prefix_gradients(const tensor<Real>& d_out, tensor<Real>& d_prefix) const {
    if (prefix_rows_ == 0 || queries_ == 0) return;
    const auto add = [&](const buffer<Real>& weights, const tensor<Real>& from, index_type to) {
      through_panels<Real>(prefix_rows_, width_, queries_, {weights.data(), 1, prefix_step_},
                           {from.row(query_row(first_)) + column_, d_, 1},
                           rows_of<Real>{d_prefix.data() + to + column_, 2 * d_}, true);
    };
    add(d_prefix_, q_, 0);
    add(on_prefix_, d_out, d_);
  }

 private:
  index_type length(index_type s) const { return layout_.sequences.length(s); }
  index_type queries(index_type s) const { return layout_.queries == query_rows::all ? length(s) : 1; }
  index_type query_row(index_type s) const {
    return layout_.queries == query_rows::all ? layout_.sequences.first(s) : s;
  }
  /// How many of its own rows query t of sequence s sees.
  index_type visible(index_type s, index_type t) const {
    if (!layout_.causal) return length(s);
    return layout_.queries == query_rows::last ? length(s) : t + 1;
  }
  index_type step(index_type s) const { return simd::whole_vectors<Real>(length(s)); }
  Real* prefix_row(buffer<Real>& b, index_type s, index_type t) const {
    return b.data() + (query_row(s) - query_row(first_) + t) * prefix_step_;
  }
  index_type offset(index_type s) const { return own_offset_[static_cast<std::size_t>(s - first_)]; }
  Real* own_row(buffer<Real>& b, index_type s, index_type t) const { return b.data() + offset(s) + t * step(s); }
  strided<Real> own_matrix(const buffer<Real>& b, index_type s) const { return {b.data() + offset(s), step(s), 1}; }
  rows_of<const Real> own(const tensor<Real>& m, index_type s, index_type part) const {
    return {m.row(layout_.sequences.first(s)) + part + column_, 2 * d_};
  }
  rows_of<const Real> queries_of(const tensor<Real>& m, index_type s) const {
    return {m.row(query_row(s)) + column_, d_};
  }

  /// far = left * (prefix part)', near = left * (own part)': scores with keys, or with values in the pullback.
  void scores(const tensor<Real>& left, index_type part, Real* far, Real* near) const {
    if (prefix_rows_ > 0 && queries_ > 0)
      through_panels<Real>(queries_, prefix_rows_, width_, {left.row(query_row(first_)) + column_, d_, 1},
                           {prefix_.data() + part + column_, 1, 2 * d_}, rows_of<Real>{far, prefix_step_}, false);
    for (index_type s = first_; s < last_; ++s)
      rows_by_rows<Real>(queries(s), length(s), width_, queries_of(left, s), own(kv_, s, part),
                         rows_of<Real>{near + offset(s), step(s)}, layout_.causal);
  }
  void add_prefix_product(const buffer<Real>& weights, index_type part, tensor<Real>& out) const {
    if (prefix_rows_ == 0 || queries_ == 0) return;
    through_panels<Real>(queries_, width_, prefix_rows_, {weights.data(), prefix_step_, 1},
                         {prefix_.data() + part + column_, 2 * d_, 1},
                         rows_of<Real>{out.row(query_row(first_)) + column_, d_}, true);
  }
  /// Writes `fill` where no key is: rows are whole vectors, so that no loop over them has a remainder.
  void pad(Real* far, Real* near, index_type s, index_type t, Real fill) const {
    std::fill(far + prefix_rows_, far + prefix_step_, fill);
    std::fill(near + visible(s, t), near + step(s), fill);
  }
  /// Softmax of `scale` times [far | near), in place.
  void softmax(Real* far, Real* near, index_type n, Real scale) const {
    using simd::vec;
    constexpr index_type lanes = simd::lanes<Real>;
    const index_type m = prefix_step_;
    vec<Real> top = simd::splat<Real>(-std::numeric_limits<Real>::infinity());
    for (index_type i = 0; i < m; i += lanes) top = simd::max<Real>(top, simd::load<Real>(far + i));
    for (index_type i = 0; i < n; i += lanes) top = simd::max<Real>(top, simd::load<Real>(near + i));
    const Real greatest = simd::max_lanes<Real>(top);
    vec<Real> total{};
    const auto exponential = [&](Real * z) __attribute__((always_inline)) {
      const vec<Real> e = simd::exp((simd::load<Real>(z) - greatest) * scale);
      simd::store<Real>(z, e);
      total += e;
    };
    for (index_type i = 0; i < m; i += lanes) exponential(far + i);
    for (index_type i = 0; i < n; i += lanes) exponential(near + i);
    const Real per_total = Real(1) / simd::sum_lanes<Real>(total);
    for (index_type i = 0; i < m; i += lanes) simd::store<Real>(far + i, simd::load<Real>(far + i) * per_total);
    for (index_type i = 0; i < n; i += lanes) simd::store<Real>(near + i, simd::load<Real>(near + i) * per_total);
  }

  const attention_layout& layout_;
  index_type d_, width_, column_, first_, last_, prefix_rows_, prefix_step_;
  const tensor<Real>&q_, &kv_, &prefix_;
  std::vector<index_type> own_offset_;
  index_type queries_ = 0;
  buffer<Real> on_prefix_, on_own_, d_prefix_, d_own_;
};

/// Cuts the sequences where about `rows` queries are together.
inline std::vector<index_type> sequence_blocks(const attention_layout& layout, index_type rows) {
  std::vector<index_type> cuts{0};
  index_type held = 0;
  for (index_type s = 0; s < layout.sequences.sequences(); ++s) {
    held += layout.sequences.length(s);
    if (held >= rows || s + 1 == layout.sequences.sequences()) {
      cuts.push_back(s + 1);
      held = 0;
    }
  }
  return cuts;
}

template <class Real>
void check_attention(const attention_layout& layout, const tensor<Real>& q, const tensor<Real>& kv,
                     const tensor<Real>& prefix) {
  const index_type queries = layout.queries == query_rows::all ? layout.sequences.rows() : layout.sequences.sequences();
  require_shape(q.rows() == queries && kv.rows() == layout.sequences.rows() && kv.cols() == 2 * q.cols(), "attention",
                "q", q.rows(), q.cols(), "kv", kv.rows(), kv.cols(),
                "kv is [rows, 2 d], q has a row for each that asks");
  require_shape(prefix.rows() == 0 || prefix.cols() == kv.cols(), "attention", "prefix_kv", prefix.rows(),
                prefix.cols(), "kv", kv.rows(), kv.cols(), "widths must match");
  if (layout.heads < 1 || q.cols() % layout.heads != 0)
    fail(error_category::data, "negood.eigen.4", "attention",
         std::to_string(layout.heads) + " heads do not divide a width of " + std::to_string(q.cols()));
}

}  // namespace detail

template <class Real>
tensor<Real> run_fused(context<Real>& ctx, attention_t, const attention_layout& layout, const tensor<Real>& q,
                       const tensor<Real>& kv, const tensor<Real>& prefix_kv) {
  detail::check_attention(layout, q, kv, prefix_kv);
  tensor<Real> out(q.rows(), q.cols());
  const auto cuts = detail::sequence_blocks(layout, 256);
  const index_type blocks = static_cast<index_type>(cuts.size()) - 1;
  ctx.tasks(blocks * layout.heads, true, [&](index_type, index_type task) {
    const auto b = static_cast<std::size_t>(task / layout.heads);
    detail::attention_block<Real> block(layout, task % layout.heads, cuts[b], cuts[b + 1], q, kv, prefix_kv);
    block.compute_probabilities();
    block.values_to(out);
  });
  return out;
}

/// With a prefix, a head's blocks follow one another: each adds to the same gradient, in order.
template <class Real>
attention_gradient<context<Real>> run_fused(context<Real>& ctx, attention_pullback_t, const attention_layout& layout,
                                            const tensor<Real>& q, const tensor<Real>& kv,
                                            const tensor<Real>& prefix_kv, const tensor<Real>& d_out,
                                            tensor<Real>& d_prefix_kv) {
  detail::check_attention(layout, q, kv, prefix_kv);
  require_shape(d_out.rows() == q.rows() && d_out.cols() == q.cols(), "attention_pullback", "q", q.rows(), q.cols(),
                "d_out", d_out.rows(), d_out.cols(), "shapes must be equal");
  require_shape(d_prefix_kv.rows() == prefix_kv.rows(), "attention_pullback", "prefix_kv", prefix_kv.rows(),
                prefix_kv.cols(), "d_prefix_kv", d_prefix_kv.rows(), d_prefix_kv.cols(), "shapes must be equal");
  attention_gradient<context<Real>> out{tensor<Real>(q.rows(), q.cols()), tensor<Real>(kv.rows(), kv.cols())};
  const auto cuts = detail::sequence_blocks(layout, 256);
  const index_type blocks = static_cast<index_type>(cuts.size()) - 1;
  const auto one = [&](index_type head, index_type b) {
    const auto i = static_cast<std::size_t>(b);
    detail::attention_block<Real> block(layout, head, cuts[i], cuts[i + 1], q, kv, prefix_kv);
    block.compute_probabilities();
    block.pull_scores(d_out);
    block.gradients_to(d_out, out.dq, out.dkv);
    block.add_prefix_gradients(d_out, d_prefix_kv);
  };
  if (prefix_kv.rows() > 0)
    ctx.tasks(layout.heads, true, [&](index_type, index_type head) {
      for (index_type b = 0; b < blocks; ++b) one(head, b);
    });
  else
    ctx.tasks(blocks * layout.heads, true,
              [&](index_type, index_type task) { one(task % layout.heads, task / layout.heads); });
  return out;
}

}  // namespace negood::eigen
