/// \file conditioning.hpp  Where c + e nearly cancels: how it is seen, and the labels computed again one by one.
#pragma once

#include <negood/feature/label_set.hpp>
#include <negood/feature/meta_net.hpp>

#include <limits>

namespace negood {

/// The squared length q = |a o c + b|^2 is made of terms whose sizes sum up to at most (|a o c| + |b|)^2; kappa is that
/// over q. Products of n-bit numbers know q to about 2^-n sqrt(D) kappa.
struct conditioning_options {
  double recompute_from = 100;  ///< kappa from which a label is computed again from u itself, in double
  double flag_from = 1e3;       ///< kappa that is reported
  double floor = 1e-12;         ///< q is at least this times |c|^2; where it is less, no gradient flows through q
};

struct conditioning_report {
  double largest_kappa = 0;   ///< an upper bound over all conditions and labels
  double largest_delta = 0;   ///< max |alpha + F_alpha - 1|
  index_type flagged = 0;     ///< conditions with a kappa from `flag_from` on
  index_type recomputed = 0;  ///< pairs of condition and label
  index_type clamped = 0;     ///< of them those whose q was raised

  void merge(const conditioning_report& r) {
    largest_kappa = std::max(largest_kappa, r.largest_kappa);
    largest_delta = std::max(largest_delta, r.largest_delta);
    flagged += r.flagged;
    recomputed += r.recomputed;
    clamped += r.clamped;
  }
};

namespace detail {

/// One pair of condition and label in double.
struct exact_label {
  index_type condition, label;
  double q, w, slope, distance;
  bool clamped;
};

/// u = c + (delta o c + b) of one label.
template <class Real>
std::vector<double> exact_feature(std::span<const Real> c, std::span<const Real> delta, std::span<const Real> b) {
  std::vector<double> u(c.size());
  for (std::size_t d = 0; d < c.size(); ++d) u[d] = double(c[d]) + (double(delta[d]) * double(c[d]) + double(b[d]));
  return u;
}

/// The labels of a block that must be computed again, found from r = |c|/|u| and the bound
/// kappa <= r^2 (1 + max|delta_k| + |b_k|/min|c|)^2. `ratio` is the largest r of each condition, `t` is 1/|u|.
template <Backend B>
std::vector<exact_label> exact_labels(B& ctx, const label_block<B>& labels, const residual_map<B>& map,
                                      const tensor_t<B>& ratio, const tensor_t<B>& t,
                                      const conditioning_options& options, conditioning_report& report) {
  using real = real_t<B>;
  const auto largest = ctx.to_host(ratio);
  const auto delta2 = ctx.to_host(ctx.reduce_rows(reduction::maximum{}, ctx.map(element::square{}, map.delta)));
  const auto shift2 = ctx.to_host(ctx.reduce_rows(reduction::sum{}, ctx.map(element::square{}, map.shift)));
  std::vector<exact_label> out;
  host_matrix<real> all, s2_of, delta, shift;
  for (index_type k = 0; k < largest.rows(); ++k) {
    const double d = std::sqrt(double(delta2(k, 0)));
    const double reach = 1 + d + std::sqrt(double(shift2(k, 0)) / labels.least_s2);
    const double r = double(largest(k, 0)) * reach, kappa = r * r;
    report.largest_delta = std::max(report.largest_delta, d);
    report.largest_kappa = std::max(report.largest_kappa, kappa);
    if (kappa >= options.flag_from) ++report.flagged;
    if (!(kappa >= options.recompute_from)) continue;
    if (all.empty())
      all = ctx.to_host(t), s2_of = ctx.to_host(labels.s2), delta = ctx.to_host(map.delta),
      shift = ctx.to_host(map.shift);
    const double limit = std::sqrt(options.recompute_from) / reach;
    std::vector<index_type> found;
    for (index_type i = 0; i < all.cols(); ++i)
      if (double(all(k, i)) * std::sqrt(double(s2_of(0, i))) >= limit) found.push_back(i);
    const auto c = ctx.to_host(ctx.gather_rows(labels.c, found));
    const auto target =
        labels.teacher ? ctx.to_host(ctx.gather_rows(labels.teacher->difference, found)) : host_matrix<real>();
    for (std::size_t f = 0; f < found.size(); ++f) {
      const auto row = static_cast<index_type>(f);
      const auto u = exact_feature<real>(c.row(row), delta.row(k), shift.row(k));
      double q = 0, w = 0, slope = 0, s2 = 0, target2 = 0;
      for (std::size_t j = 0; j < u.size(); ++j) {
        const double cj = double(c.row(row)[j]), tau = cj - (target.empty() ? 0.0 : double(target.row(row)[j]));
        q += u[j] * u[j];
        w += tau * u[j];
        slope += (u[j] - tau) * u[j];
        s2 += cj * cj;
        target2 += tau * tau;
      }
      exact_label e{k, found[f], q, w, slope, 0, q < options.floor * s2};
      if (e.clamped) {  // q is a constant: 1 - w/(|tau| sqrt(q)) is linear in w
        e.q = options.floor * s2;
        e.slope = e.q;
        ++report.clamped;
      }
      e.distance = 1 - w / std::sqrt(target2 * e.q);
      if (e.clamped) e.w = 0;
      ++report.recomputed;
      out.push_back(e);
    }
  }
  return out;
}

}  // namespace detail
}  // namespace negood
