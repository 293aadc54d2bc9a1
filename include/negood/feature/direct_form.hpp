/// \file direct_form.hpp  The same cosines from the transformed features themselves, one condition at a time.
#pragma once

#include <negood/feature/product_form.hpp>

namespace negood {

/// u_k = c + e_k, e_k = (delta_k + delta_i) o c_i + b_k + b_i for all labels i of a block, `[n, D]`, for one condition
/// k after the other.
///
///     q = sum_d u^2,   w = <tau, u>,   X = <tau, u - tau>,   Y = |u - tau|^2,   A, T, h, k1, k2 as in `product_form`
///     du_i = sum_r A_ri v_r + T u - h (k1 tau - k2 (u - tau))
///     d delta_k = sum_i du_i o c_i,  d b_k = sum_i du_i,  d delta_i = du_i o c_i,  d b_i = du_i
///
/// Costs K passes over C and memory for a few copies of it, but takes parameters per label, cannot cancel in q, and is
/// the oracle of `product_form`. Used where parameters belong to labels (there K is mostly 1).
struct direct_form {
  template <Backend B>
  static feature_norms<B> norms(B& ctx, const feature_model&, const label_block<B>& labels, const residual_map<B>& map,
                                const map_parameters<tensor_t<B>>& parameters, bool knowledge,
                                const conditioning_options& options, conditioning_report& report) {
    using real = real_t<B>;
    const index_type k = ctx.rows(map.delta), n = labels.count;
    feature_norms<B> out{ctx.zeros(k, n), ctx.zeros(k, n), ctx.zeros(k, n), host_matrix<real>(k, 1), {}};
    const auto delta = ctx.to_host(map.delta), s2 = ctx.to_host(labels.s2);
    for (const real d : delta.values()) report.largest_delta = std::max(report.largest_delta, std::abs(double(d)));
    for (index_type i = 0; i < k; ++i) {
      const auto e = residual(ctx, labels, map, parameters, i), u = ctx.map(element::add{}, labels.c, e);
      auto length2 = ctx.to_host(detail::squared_lengths(ctx, u));
      double largest = 0;
      for (index_type j = 0; j < n; ++j) {
        real& q = length2(0, j);
        const double least = options.floor * double(s2(0, j));
        largest = std::max(largest, double(s2(0, j)) / std::max(double(q), least));
        if (double(q) >= least) continue;
        q = static_cast<real>(least);
        out.exact.push_back({i, j, least, 0, 0, 0, true});
        ++report.clamped;
      }
      report.largest_kappa = std::max(report.largest_kappa, largest);
      if (largest >= options.flag_from) ++report.flagged;
      const auto q = ctx.from_host(length2.view());
      const auto t = ctx.map(element::reciprocal{}, ctx.map(element::sqrt{}, q));
      ctx.paste(out.t, t, i, 0);
      if (!knowledge) continue;
      const auto tau = teacher(ctx, labels), f = ctx.map(element::subtract{}, u, tau);
      const auto x = detail::row_products(ctx, tau, f), y = detail::squared_lengths(ctx, f);
      const auto w = ctx.map(element::add{}, x, labels.teacher_s2);
      const auto half = ctx.map(element::scale{0.5}, ctx.map(element::reciprocal{}, labels.teacher_length));
      double total = 0;
      const auto distance = detail::cosine_distance(ctx, y, ctx.map(element::add_scaled{2.0}, y, x),
                                                    ctx.map(element::sqrt{}, q), t, labels.teacher_length, half);
      auto each = ctx.to_host(distance);
      const auto w_of = ctx.to_host(w), tau_of = ctx.to_host(labels.teacher_length);
      for (const auto& raised : out.exact)  // whose |u| is not the length of u any more
        if (raised.condition == i)
          each(0, raised.label) = static_cast<real>(1 - double(w_of(0, raised.label)) /
                                                            (double(tau_of(0, raised.label)) * std::sqrt(raised.q)));
      for (const real v : each.values()) total += double(v);
      out.distance(i, 0) = static_cast<real>(total);
      ctx.paste(out.w, w, i, 0);
      ctx.paste(out.slope, ctx.map(element::add{}, x, y), i, 0);
    }
    if (knowledge && !out.exact.empty()) {  // a raised q is a constant: only t dw is left
      auto w = ctx.to_host(out.w), slope = ctx.to_host(out.slope);
      for (const auto& e : out.exact) w(e.condition, e.label) = 0, slope(e.condition, e.label) = static_cast<real>(e.q);
      out.w = ctx.from_host(w.view());
      out.slope = ctx.from_host(slope.view());
    }
    return out;
  }

  template <Backend B>
  static void logits(B& ctx, const label_block<B>& labels, const residual_map<B>& map,
                     const map_parameters<tensor_t<B>>& parameters, const feature_norms<B>& norms,
                     const conditioned_rows<B>& rows, double scale, tensor_t<B>& z) {
    auto all = ctx.zeros(ctx.rows(rows.values), labels.count);
    for (index_type k = 0; k < ctx.rows(map.delta); ++k) {
      const auto own = rows_of(rows.conditions, k);
      if (own.empty()) continue;
      const auto u = features(ctx, labels, map, parameters, k);
      const auto num = ctx.matmul_nt(ctx.gather_rows(rows.values, own), u);
      const auto t = ctx.block(norms.t, k, 0, 1, labels.count);
      ctx.scatter_add_rows(all, own, ctx.map(element::scale{scale}, ctx.map_cols(element::multiply{}, num, t)));
    }
    ctx.paste(z, all, 0, labels.first);
  }

  /// Takes in dL/dz of some rows; `z` is what `logits` made.
  template <Backend B>
  static void pull_logits(B& ctx, const label_block<B>& labels, const residual_map<B>& map,
                          const map_parameters<tensor_t<B>>&, const feature_norms<B>& norms,
                          const conditioned_rows<B>& rows, double scale, const tensor_t<B>& z, const tensor_t<B>& dz,
                          feature_gradient<B>& onto) {
    const index_type r = ctx.rows(rows.values), n = labels.count;
    const auto g = ctx.block(dz, 0, labels.first, r, n);
    ctx.scatter_add_rows(onto.pulled, rows.conditions,
                         ctx.map(element::multiply{}, g, ctx.block(z, 0, labels.first, r, n)));
    for (index_type k = 0; k < ctx.rows(map.delta); ++k) {
      const auto own = rows_of(rows.conditions, k);
      if (own.empty()) continue;
      const auto t = ctx.block(norms.t, k, 0, 1, n);
      const auto a = ctx.map(element::scale{scale}, ctx.map_cols(element::multiply{}, ctx.gather_rows(g, own), t));
      spread(ctx, labels, map, k, ctx.matmul_tn(a, ctx.gather_rows(rows.values, own)), onto);
    }
  }

  template <Backend B>
  static void pull_norms(B& ctx, const feature_model&, const label_block<B>& labels, const residual_map<B>& map,
                         const map_parameters<tensor_t<B>>& parameters, const feature_norms<B>& norms, double weight,
                         feature_gradient<B>& onto) {
    auto pulled = ctx.to_host(onto.pulled);
    for (const auto& e : norms.exact)
      if (e.clamped) pulled(e.condition, e.label) = 0;
    const auto all = ctx.from_host(pulled.view());
    const auto h = ctx.map(element::scale{weight}, ctx.map(element::reciprocal{}, labels.teacher_length));
    for (index_type k = 0; k < ctx.rows(map.delta); ++k) {
      const auto row = [&](const tensor_t<B>& m) { return ctx.block(m, k, 0, 1, labels.count); };
      const auto u = features(ctx, labels, map, parameters, k);
      const auto t = row(norms.t), t2 = ctx.map(element::square{}, t);
      const auto two_b = ctx.map(element::scale{-1.0}, ctx.map(element::multiply{}, t2, row(all)));
      auto du = ctx.map_rows(element::multiply{}, u, detail::column(ctx, two_b));
      if (weight != 0) {
        const auto tau = teacher(ctx, labels), f = ctx.map(element::subtract{}, u, tau);
        const auto t3h = ctx.map(element::multiply{}, ctx.map(element::multiply{}, t2, t), h);
        const auto k1 = detail::column(ctx, ctx.map(element::multiply{}, t3h, row(norms.slope)));
        const auto k2 = detail::column(ctx, ctx.map(element::multiply{}, t3h, row(norms.w)));
        du = ctx.map(element::subtract{}, du, ctx.map_rows(element::multiply{}, tau, k1));
        du = ctx.map(element::add{}, du, ctx.map_rows(element::multiply{}, f, k2));
      }
      spread(ctx, labels, map, k, du, onto);
    }
  }

  /// u_k of all labels, `[n, D]`.
  template <Backend B>
  static tensor_t<B> features(B& ctx, const label_block<B>& labels, const residual_map<B>& map,
                              const map_parameters<tensor_t<B>>& parameters, index_type k) {
    return ctx.map(element::add{}, labels.c, residual(ctx, labels, map, parameters, k));
  }

 private:
  static std::vector<index_type> rows_of(std::span<const index_type> conditions, index_type k) {
    std::vector<index_type> out;
    for (std::size_t r = 0; r < conditions.size(); ++r)
      if (conditions[r] == k) out.push_back(static_cast<index_type>(r));
    return out;
  }
  template <Backend B>
  static tensor_t<B> teacher(B& ctx, const label_block<B>& labels) {
    return labels.teacher ? ctx.map(element::subtract{}, labels.c, labels.teacher->difference) : ctx.clone(labels.c);
  }
  /// e_k, `[n, D]`
  template <Backend B>
  static tensor_t<B> residual(B& ctx, const label_block<B>& labels, const residual_map<B>& map,
                              const map_parameters<tensor_t<B>>& parameters, index_type k) {
    const index_type width = ctx.cols(labels.c);
    auto e =
        ctx.map_cols(element::add{}, ctx.map_cols(element::multiply{}, labels.c, ctx.block(map.delta, k, 0, 1, width)),
                     ctx.block(map.shift, k, 0, 1, width));
    if (map.label_scale) e = ctx.map(element::add{}, e, ctx.map(element::multiply{}, labels.c, parameters.scale));
    if (map.label_shift) e = ctx.map(element::add{}, e, parameters.shift);
    return e;
  }
  template <Backend B>
  static void spread(B& ctx, const label_block<B>& labels, const residual_map<B>& map, index_type k,
                     const tensor_t<B>& du, feature_gradient<B>& onto) {
    const std::vector<index_type> at{k};
    const auto du_c = ctx.map(element::multiply{}, du, labels.c);
    ctx.scatter_add_rows(onto.delta, at, ctx.reduce_cols(reduction::sum{}, du_c));
    ctx.scatter_add_rows(onto.shift, at, ctx.reduce_cols(reduction::sum{}, du));
    if (map.label_scale) onto.label_scale = ctx.map(element::add{}, onto.label_scale, du_c);
    if (map.label_shift) onto.label_shift = ctx.map(element::add{}, onto.label_shift, du);
  }
};

}  // namespace negood
