/// \file fused_features.hpp  Transformed text features compared with images in one pass over the plain features.
#pragma once

#include <negood/backend/eigen/fused_rows.hpp>
#include <negood/feature/conditioned_logits.hpp>

#include <algorithm>
#include <cmath>

namespace negood::eigen {

namespace detail {

/// Labels that share the loads of an image's a, b and v.
inline constexpr index_type labels_at_once = 8;

/// q_i = |a o c_i + b|^2 and p_i = <v, a o c_i + b> of eight labels; rows of c stand `width` apart, those beyond
/// `count` repeat the last. Every label is summed the same way, whatever stands beside it.
template <class T>
NEGOOD_INLINE void eight_labels(index_type width, index_type count, const T* c, const T* a, const T* b, const T* v,
                                T* q, T* p) {
  using simd::lanes;
  constexpr std::size_t n = static_cast<std::size_t>(labels_at_once);
  simd::vec<T> sum[2 * n] = {};
  const T* row[n];
  for (std::size_t i = 0; i < n; ++i) row[i] = c + std::min(static_cast<index_type>(i), count - 1) * width;
  index_type d = 0;
  for (; d + lanes<T> <= width; d += lanes<T>) {
    const simd::vec<T> x = simd::load<T>(a + d), y = simd::load<T>(b + d), w = simd::load<T>(v + d);
    NEGOOD_UNROLL for (std::size_t i = 0; i < n; ++i) {
      const simd::vec<T> u = simd::load<T>(row[i] + d) * x + y;
      sum[i] += u * u;
      sum[n + i] += w * u;
    }
  }
  if (d < width) {
    const simd::vec<T> x = simd::load_part<T>(a + d, width - d), y = simd::load_part<T>(b + d, width - d),
                       w = simd::load_part<T>(v + d, width - d);
    for (std::size_t i = 0; i < n; ++i) {
      const simd::vec<T> u = simd::load_part<T>(row[i] + d, width - d) * x + y;
      sum[i] += u * u;
      sum[n + i] += w * u;
    }
  }
  if constexpr (static_cast<std::size_t>(lanes<T>) == 2 * n) {
    simd::transpose<T>(sum);
    for (std::size_t half = n; half > 0; half /= 2)
      for (std::size_t i = 0; i < half; ++i) sum[i] += sum[i + half];
    T out[2 * n];
    simd::store<T>(out, sum[0]);
    std::copy_n(out, n, q);
    std::copy_n(out + n, n, p);
  } else {
    for (std::size_t i = 0; i < n; ++i) q[i] = simd::sum_lanes<T>(sum[i]), p[i] = simd::sum_lanes<T>(sum[n + i]);
  }
}

}  // namespace detail

template <class Real>
void run_fused(context<Real>& ctx, conditioned_logits_t, const label_block<context<Real>>& labels,
               const residual_map<context<Real>>& map, const tensor<Real>& rows, double scale,
               const conditioning_options& options, tensor<Real>& z, conditioning_report& report) {
  constexpr index_type step = detail::labels_at_once, labels_per_task = 64 * step;
  const index_type images = rows.rows(), width = rows.cols(), n = labels.count;
  const auto alpha = ctx.map(element::shift{1.0}, map.delta);
  const index_type tasks = (n + labels_per_task - 1) / labels_per_task;
  std::vector<Real> largest(static_cast<std::size_t>(tasks * images));  // of |c|^2/q, by task and image
  std::vector<index_type> clamped(static_cast<std::size_t>(tasks));
  const auto work = [&](index_type, index_type task) {
    Real* worst = largest.data() + task * images;
    for (index_type i = task * labels_per_task, end = std::min(n, i + labels_per_task); i < end; i += step) {
      const index_type count = std::min(step, n - i);
      const Real* s2 = labels.s2.data() + i;
      for (index_type k = 0; k < images; ++k) {
        Real q[step], p[step];
        detail::eight_labels<Real>(width, count, labels.c.row(i), alpha.row(k), map.shift.row(k), rows.row(k), q, p);
        Real* out = z.row(k) + labels.first + i;
        for (index_type j = 0; j < count; ++j) {
          const Real least = static_cast<Real>(options.floor) * s2[j];
          if (q[j] < least) {
            q[j] = least;
            ++clamped[static_cast<std::size_t>(task)];
          }
          worst[k] = std::max(worst[k], s2[j] / q[j]);
          out[j] = static_cast<Real>(scale) * p[j] / std::sqrt(q[j]);
        }
      }
    }
  };
  ctx.tasks(tasks, static_cast<double>(images) * static_cast<double>(n) * static_cast<double>(width) > 1e6, work);
  for (index_type k = 0; k < images; ++k) {
    double ratio = 0, delta = 0, shift2 = 0;
    for (index_type t = 0; t < tasks; ++t)
      ratio = std::max(ratio, double(largest[static_cast<std::size_t>(t * images + k)]));
    for (index_type d = 0; d < width; ++d) {
      delta = std::max(delta, std::abs(double(map.delta.row(k)[d])));
      shift2 += double(map.shift.row(k)[d]) * double(map.shift.row(k)[d]);
    }
    const double reach = 1 + delta + std::sqrt(shift2 / labels.least_s2), kappa = ratio * reach * reach;
    report.largest_delta = std::max(report.largest_delta, delta);
    report.largest_kappa = std::max(report.largest_kappa, kappa);
    if (kappa >= options.flag_from) ++report.flagged;
  }
  for (const index_type count : clamped) report.clamped += count;
}

}  // namespace negood::eigen
