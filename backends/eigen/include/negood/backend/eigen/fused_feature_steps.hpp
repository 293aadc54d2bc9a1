/// \file fused_feature_steps.hpp  The passes between the products of feature maps, and KR-NFT's losses, one loop each.
#pragma once

#include <negood/backend/eigen/fused_rows.hpp>
#include <negood/feature/feature_lengths.hpp>
#include <negood/loss/grouped_softmax.hpp>

#include <algorithm>
#include <cmath>

namespace negood::eigen {

namespace detail {

/// Loads and stores of a whole vector, and of the last, partial one; lanes beyond the end read as `fill`.
template <class T>
struct whole_vector {
  NEGOOD_INLINE simd::vec<T> operator()(const T* p, T = T(0)) const { return simd::load<T>(p); }
  NEGOOD_INLINE void put(T* p, simd::vec<T> v) const { simd::store<T>(p, v); }
};
template <class T>
struct partial_vector {
  index_type count;
  NEGOOD_INLINE simd::vec<T> operator()(const T* p, T fill = T(0)) const { return simd::load_part<T>(p, count, fill); }
  NEGOOD_INLINE void put(T* p, simd::vec<T> v) const { simd::store_part<T>(p, v, count); }
};
/// f(at, i) for every vector of [0, n): at(p + i) loads, at.put(p + i, v) stores.
template <class T, class F>
NEGOOD_INLINE void each_vector(index_type n, F f) {
  index_type i = 0;
  for (; i + simd::lanes<T> <= n; i += simd::lanes<T>) f(whole_vector<T>{}, i);
  if (i < n) f(partial_vector<T>{n - i}, i);
}
template <class T>
NEGOOD_INLINE simd::vec<T> root(simd::vec<T> x) {
  alignas(simd::vector_bytes) T lanes[static_cast<std::size_t>(simd::lanes<T>)];
  simd::store<T>(lanes, x);
  for (T& v : lanes) v = std::sqrt(v);
  return simd::load<T>(lanes);
}

}  // namespace detail

template <class Real>
feature_lengths_value<context<Real>> run_fused(context<Real>& ctx, feature_lengths_t,
                                               const label_block<context<Real>>& labels,
                                               const length_products<context<Real>>& p, bool knowledge) {
  using simd::vec;
  const index_type k = p.b2.rows(), n = labels.count;
  const bool scales = p.on_e.rows() > 0;
  feature_lengths_value<context<Real>> out{tensor<Real>(k, n), tensor<Real>(knowledge ? k : 0, n),
                                           tensor<Real>(knowledge ? k : 0, n), tensor<Real>(k, 1), ctx.zeros(k, 1)};
  const Real *s2 = labels.s2.data(), *floor = p.floor.data(), *length = p.length.data(), *half = p.half.data();
  ctx.each_row(k, 8 * n, [&](index_type r) {
    const index_type second = knowledge ? k + r : r;
    const Real *xc = p.on_c.row(r), *yc = p.on_c.row(second);
    const Real *xe = scales ? p.on_e.row(r) : xc, *ye = scales ? p.on_e.row(second) : yc;
    const vec<Real> b2 = simd::splat<Real>(p.b2.data()[r]);
    vec<Real> ratio{}, distance{};
    detail::each_vector<Real>(n, [&](auto at, index_type i) {
      const auto sum = [&](const Real* c, const Real* e) { return scales ? at(c + i) + at(e + i) : at(c + i); };
      const vec<Real> y = sum(yc, ye) + b2, x = knowledge ? sum(xc, xe) : vec<Real>{};
      const vec<Real> grown = y + (x + x), base = at(s2 + i, Real(1));
      const vec<Real> l = detail::root<Real>(simd::max<Real>(grown + base, at(floor + i, Real(1)))), t = Real(1) / l;
      const vec<Real> c = at(length + i);
      at.put(out.t.row(r) + i, t);
      ratio = simd::max<Real>(ratio, t * c);
      if (!knowledge) return;
      at.put(out.w.row(r) + i, x + base);
      at.put(out.slope.row(r) + i, x + y);
      const vec<Real> longer = grown / (l + c);
      distance += (y - longer * longer) * t * at(half + i);
    });
    out.ratio.data()[r] = simd::max_lanes<Real>(ratio);
    if (knowledge) out.distance.data()[r] = simd::sum_lanes<Real>(distance);
  });
  return out;
}

template <class Real>
length_slopes<context<Real>> run_fused(context<Real>& ctx, length_slopes_t, const tensor<Real>& t,
                                       const tensor<Real>& w, const tensor<Real>& slope, const tensor<Real>& pulled,
                                       const tensor<Real>& h) {
  using simd::vec;
  const index_type k = t.rows(), n = t.cols();
  const bool knowledge = w.rows() > 0;
  length_slopes<context<Real>> out{tensor<Real>(knowledge ? 2 * k : k, n), tensor<Real>(k, 1)};
  ctx.each_row(k, 4 * n, [&](index_type r) {
    vec<Real> total{};
    Real *p1 = out.p.row(r), *p2 = out.p.row(knowledge ? k + r : r);
    detail::each_vector<Real>(n, [&](auto at, index_type i) {
      const vec<Real> t1 = at(t.row(r) + i), t2 = t1 * t1;
      vec<Real> m = t2 * at(pulled.row(r) + i);
      if (knowledge) {
        const vec<Real> t3h = t2 * t1 * at(h.data() + i);
        at.put(p1 + i, m + t3h * at(slope.row(r) + i));
        m = m - t3h * at(w.row(r) + i);
      }
      at.put(p2 + i, m);
      total += m;
    });
    out.p2.data()[r] = simd::sum_lanes<Real>(total);
  });
  return out;
}

template <class Real>
void run_fused(context<Real>& ctx, divided_logits_t, const tensor<Real>& on_c, const tensor<Real>& constant,
               const tensor<Real>& t, std::span<const index_type> conditions, index_type first, tensor<Real>& z) {
  ctx.each_row(on_c.rows(), on_c.cols(), [&](index_type r) {
    const Real add = constant.data()[r];
    simd::transform<Real>(
        on_c.cols(), z.row(r) + first, [&](simd::vec<Real> x, simd::vec<Real> y) { return (x + add) * y; }, on_c.row(r),
        t.row(conditions[static_cast<std::size_t>(r)]));
  });
}

/// Columns are cut over the threads, in pieces of one size, so that rows of one condition are added in their order.
template <class Real>
logit_slopes<context<Real>> run_fused(context<Real>& ctx, divided_logits_pullback_t, const tensor<Real>& t,
                                      std::span<const index_type> conditions, index_type first, const tensor<Real>& z,
                                      const tensor<Real>& dz, tensor<Real>& pulled) {
  using simd::vec;
  constexpr index_type piece = 1024;
  const index_type rows = z.rows(), n = t.cols(), pieces = (n + piece - 1) / piece;
  logit_slopes<context<Real>> out{tensor<Real>(rows, n), ctx.zeros(rows, 1)};
  tensor<Real> sums(std::max<index_type>(pieces, 1), rows);
  ctx.tasks(pieces, rows * n >= (1 << 15), [&](index_type, index_type task) {
    const index_type begin = task * piece, count = std::min(piece, n - begin);
    for (index_type r = 0; r < rows; ++r) {
      const index_type k = conditions[static_cast<std::size_t>(r)];
      const Real *g = dz.row(r) + first + begin, *x = z.row(r) + first + begin, *tk = t.row(k) + begin;
      Real *a = out.a.row(r) + begin, *sum = pulled.row(k) + begin;
      vec<Real> total{};
      detail::each_vector<Real>(count, [&](auto at, index_type i) {
        const vec<Real> gi = at(g + i), ai = gi * at(tk + i);
        at.put(a + i, ai);
        at.put(sum + i, at(sum + i) + gi * at(x + i));
        total += ai;
      });
      sums.row(task)[r] = simd::sum_lanes<Real>(total);
    }
  });
  for (index_type task = 0; task < pieces; ++task)
    for (index_type r = 0; r < rows; ++r) out.a_sum.data()[r] += sums.row(task)[r];
  return out;
}

/// A row's exponentials stay in its row of dz until their coefficients are known.
template <class Real>
grouped_loss_value<context<Real>> run_fused(context<Real>& ctx, grouped_losses_t, const tensor<Real>& z,
                                            const grouped_columns& columns, const grouped_rows& rows,
                                            const grouped_loss_options& options) {
  const index_type n = columns.classes, groups = columns.groups, m = columns.group_size;
  grouped_loss_value<context<Real>> out{0, 0, ctx.zeros(z.rows(), columns.total)};
  std::vector<double> losses(static_cast<std::size_t>(z.rows()));
  ctx.each_row(z.rows(), 8 * z.cols(), [&](index_type r) {
    const auto row = static_cast<std::size_t>(r);
    const index_type y = rows.labels[row];
    const bool known = y >= 0;
    const double weight = rows.weights[row], per_group = groups > 0 ? 1.0 / static_cast<double>(groups) : 0.0;
    Real* dz = out.dz.row(r);
    const auto multiply = [](Real* at, index_type count, Real by) {
      simd::transform<Real>(
          count, at, [&](simd::vec<Real> e) { return e * by; }, static_cast<const Real*>(at));
    };
    const auto id = detail::exponentiate<Real>(n, z.row(r), dz);
    const double lp = double(id.maximum) + std::log(double(id.sum));
    double mean_loss = 0, mean_coefficient = known && groups == 0 ? 1 : 0;
    for (index_type g = 0; g < groups; ++g) {
      Real* at = dz + n + g * m;
      const auto e = detail::exponentiate<Real>(m, z.row(r) + n + g * m, at);
      const double x = double(e.maximum) + std::log(double(e.sum)) - lp;  // LN_g - LP
      const double inside = element::sigmoid{}(-x), outside = element::sigmoid{}(x), raised = inside + options.floor;
      const double f = options.floor > 0 ? outside * (inside / raised) : outside;
      mean_loss += per_group * (known               ? element::softplus{}(x)
                                : options.floor > 0 ? std::log(raised)
                                                    : -element::softplus{}(x));
      mean_coefficient += per_group * (known ? inside : f);
      const double coefficient = weight * per_group * (known ? outside : -options.outlier_weight * f);
      multiply(at, m, static_cast<Real>(coefficient / double(e.sum)));
    }
    const double on_id = weight * (known ? 1.0 : options.outlier_weight) * mean_coefficient;
    multiply(dz, n, static_cast<Real>(on_id / double(id.sum)));
    if (known) dz[y] -= static_cast<Real>(weight);
    losses[row] = weight * (known ? lp - double(z.row(r)[y]) + mean_loss : mean_loss);
  });
  for (std::size_t r = 0; r < losses.size(); ++r) (rows.labels[r] >= 0 ? out.id : out.outlier) += losses[r];
  return out;
}

}  // namespace negood::eigen
