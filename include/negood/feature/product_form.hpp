/// \file product_form.hpp  Cosines to K x n transformed features through products with the two constants C and C o C.
#pragma once

#include <negood/feature/conditioning.hpp>
#include <negood/feature/feature_lengths.hpp>

namespace negood {

/// What the lengths of transformed features leave behind for K conditions and the n labels of a block.
template <Backend B>
struct feature_norms {
  tensor_t<B> t;                           ///< 1/|u|, `[K, n]`
  tensor_t<B> w;                           ///< <tau, u>; with the knowledge loss only
  tensor_t<B> slope;                       ///< <u - tau, u>; likewise
  host_matrix<real_t<B>> distance;         ///< sum_i (1 - cos(tau_i, u_ki)), `[K, 1]`; likewise
  std::vector<detail::exact_label> exact;  ///< pairs that were computed again in double
};

/// Where gradients of a block are gathered: a step may bring its rows in several portions.
template <Backend B>
struct feature_gradient {
  tensor_t<B> delta, shift;              ///< `[K, D]`
  tensor_t<B> pulled;                    ///< sum over rows of dL/dz z, `[K, n]`
  tensor_t<B> label_scale, label_shift;  ///< `[n, D]`; where parameters belong to labels
};

/// The rows that are compared with labels; condition[r] says under which condition. Never guessed from shapes.
template <Backend B>
struct conditioned_rows {
  const tensor_t<B>& values;               ///< V, `[R, D]`
  std::span<const index_type> conditions;  ///< `[R]`, in [0, K)
};

/// The residual form through products (KR-NFT §3 as derived in docs/math.md). With e = delta o c + b = u - c:
///
///     X = delta.E + b.C = <c, e>,   Y = (delta o delta).E + 2 (delta o b).C + |b|^2 = |e|^2,   E = C o C
///     q = |c|^2 + 2X + Y,   w = |c|^2 + X,   t = q^(-1/2),   z = s t ((v o a).C + v.b)
///     1 - cos(c, u) = (Y - (|u| - |c|)^2) / (2 |u| |c|),   |u| - |c| = (2X + Y) / (|u| + |c|)
///
/// At delta = b = 0 all of it is exact: q = |c|^2, X = Y = 0. Gradients, with r running over the rows of condition k:
///
///     A = s t dL/dz,   T = -t^2 sum_r z dL/dz,   h = lambda/(K n |tau|),   k1 = t^3 (X + Y),   k2 = t^3 w
///     P1 = T - h k1,   P2 = T + h k2
///     d delta_k = sum_r v_r o (A_r C) + P1 E + delta o (P2 E) + b o (P2 C)
///     d b_k     = sum_r (sum_i A_ri) v_r + P1 C + delta o (P2 C) + b sum_i P2
///
/// Rows on C and E: R + 2K and 2K, forth and back alike; K and K without the knowledge loss. With a teacher tau = c - d
/// the same holds with e + d in place of e in w, k1 and the distance, and h t (d o c), h t d are added to the
/// gradients. Nothing of size K x n x D is made.
struct product_form {
  template <Backend B>
  static feature_norms<B> norms(B& ctx, const feature_model& model, const label_block<B>& labels,
                                const residual_map<B>& map, const map_parameters<tensor_t<B>>&, bool knowledge,
                                const conditioning_options& options, conditioning_report& report) {
    const index_type k = ctx.rows(map.delta), n = labels.count;
    const auto delta2 = ctx.map(element::square{}, map.delta);
    const auto cross = ctx.map(element::scale{2.0}, ctx.map(element::multiply{}, map.delta, map.shift));
    length_products<B> p{ctx.zeros(0, 0),
                         ctx.zeros(0, 0),
                         ctx.zeros(0, 0),
                         detail::row_dots(ctx, map.shift, map.shift),
                         ctx.map(element::scale{options.floor}, labels.s2),
                         ctx.map(element::sqrt{}, labels.s2),
                         ctx.map(element::scale{0.5}, ctx.map(element::reciprocal{}, labels.teacher_length))};
    if (knowledge) {  // X and Y apart
      p.on_c = ctx.matmul_nt(detail::stacked(ctx, map.shift, cross), labels.packed);
      if (model.scales()) p.on_e = ctx.matmul_nt(detail::stacked(ctx, map.delta, delta2), *labels.square);
      if (labels.teacher) p.on_d = teacher_product(ctx, model, *labels.teacher, map);
    } else {  // 2X + Y in one
      p.on_c = ctx.matmul_nt(ctx.map(element::add_scaled{2.0}, cross, map.shift), labels.packed);
      if (model.scales()) p.on_e = ctx.matmul_nt(ctx.map(element::add_scaled{2.0}, delta2, map.delta), *labels.square);
    }
    auto lengths = feature_lengths(ctx, labels, p, knowledge);
    feature_norms<B> out{std::move(lengths.t), std::move(lengths.w), std::move(lengths.slope), {}, {}};
    out.exact = detail::exact_labels(ctx, labels, map, lengths.ratio, out.t, options, report);
    if (!out.exact.empty()) {
      const auto rewrite = [&](tensor_t<B>& tensor, auto value) {
        auto host = ctx.to_host(tensor);
        for (const auto& e : out.exact) host(e.condition, e.label) = static_cast<real_t<B>>(value(e));
        tensor = ctx.from_host(host.view());
      };
      if (knowledge) {
        auto each = ctx.zeros(k, n);
        feature_lengths(ctx, labels, p, knowledge, &each);
        rewrite(each, [](const auto& e) { return e.distance; });
        lengths.distance = ctx.reduce_rows(reduction::sum{}, each);
        rewrite(out.w, [](const auto& e) { return e.w; });
        rewrite(out.slope, [](const auto& e) { return e.slope; });
      }
      rewrite(out.t, [](const auto& e) { return 1 / std::sqrt(e.q); });
    }
    if (knowledge) out.distance = ctx.to_host(lengths.distance);
    return out;
  }

  /// z of every row and label of the block, into columns `labels.first` and on of `z`.
  template <Backend B>
  static void logits(B& ctx, const label_block<B>& labels, const residual_map<B>& map,
                     const map_parameters<tensor_t<B>>&, const feature_norms<B>& norms, const conditioned_rows<B>& rows,
                     double scale, tensor_t<B>& z) {
    const auto delta = ctx.gather_rows(map.delta, rows.conditions), b = ctx.gather_rows(map.shift, rows.conditions);
    const auto values = ctx.map(element::scale{scale}, rows.values);  // s v: one pass less over what is wide
    const auto scaled = ctx.map(element::multiply{}, values, ctx.map(element::shift{1.0}, delta));
    const auto on_c = ctx.matmul_nt(scaled, labels.packed);
    const auto constant = detail::row_dots(ctx, values, b);
    divided_logits(ctx, on_c, constant, norms.t, rows.conditions, labels.first, z);
    if (!norms.exact.empty()) exact_logits(ctx, labels, map, norms, rows, scale, z);
  }

  /// Takes in dL/dz of some rows; `z` is what `logits` made.
  template <Backend B>
  static void pull_logits(B& ctx, const label_block<B>& labels, const residual_map<B>&,
                          const map_parameters<tensor_t<B>>&, const feature_norms<B>& norms,
                          const conditioned_rows<B>& rows, double scale, const tensor_t<B>& z, const tensor_t<B>& dz,
                          feature_gradient<B>& onto) {
    const auto slopes =
        divided_logits_pullback(ctx, norms.t, rows.conditions, labels.first, z, dz, onto.pulled);  // A/s
    const auto on_c = ctx.matmul(slopes.a, labels.packed), values = ctx.map(element::scale{scale}, rows.values);
    ctx.scatter_add_rows(onto.delta, rows.conditions, ctx.map(element::multiply{}, values, on_c));
    ctx.scatter_add_rows(onto.shift, rows.conditions, ctx.map_rows(element::multiply{}, values, slopes.a_sum));
  }

  /// Adds what flows through the lengths, and the knowledge loss's gradient where `weight` = lambda/(K n) is not 0.
  template <Backend B>
  static void pull_norms(B& ctx, const feature_model& model, const label_block<B>& labels, const residual_map<B>& map,
                         const map_parameters<tensor_t<B>>&, const feature_norms<B>& norms, double weight,
                         feature_gradient<B>& onto) {
    const index_type k = ctx.rows(map.delta), n = labels.count;
    const bool knowledge = weight != 0;
    auto pulled = ctx.clone(onto.pulled);
    if (std::ranges::any_of(norms.exact, [](const auto& e) { return e.clamped; })) {
      auto host = ctx.to_host(pulled);
      for (const auto& e : norms.exact)
        if (e.clamped) host(e.condition, e.label) = 0;
      pulled = ctx.from_host(host.view());
    }
    const auto h = ctx.map(element::scale{weight}, ctx.map(element::reciprocal{}, labels.teacher_length));
    const auto none = ctx.zeros(0, n);
    const auto slopes =
        length_slopes_of(ctx, norms.t, knowledge ? norms.w : none, knowledge ? norms.slope : none, pulled, h);
    const auto on_c = ctx.matmul(slopes.p, labels.packed);
    const index_type second = knowledge ? k : 0, width = ctx.cols(map.delta);
    const auto p1_c = ctx.block(on_c, 0, 0, k, width), p2_c = ctx.block(on_c, second, 0, k, width);
    const auto take = [&](tensor_t<B>& from, const tensor_t<B>& what) {
      from = ctx.map(element::subtract{}, from, what);
    };
    const auto times = [&](const tensor_t<B>& x, const tensor_t<B>& y) { return ctx.map(element::multiply{}, x, y); };
    take(onto.shift, p1_c);
    take(onto.shift, times(map.delta, p2_c));
    take(onto.shift, ctx.map_rows(element::multiply{}, map.shift, slopes.p2));
    if (model.scales()) {
      const auto on_e = ctx.matmul(slopes.p, *labels.square);
      take(onto.delta, ctx.block(on_e, 0, 0, k, width));
      take(onto.delta, times(map.delta, ctx.block(on_e, second, 0, k, width)));
      take(onto.delta, times(map.shift, p2_c));
    }
    if (knowledge && labels.teacher) {
      const auto ht = ctx.map_cols(element::multiply{}, norms.t, h);
      onto.shift = ctx.map(element::add{}, onto.shift, ctx.matmul(ht, labels.teacher->packed_difference));
      if (model.scales()) onto.delta = ctx.map(element::add{}, onto.delta, ctx.matmul(ht, *labels.teacher->scaled));
    }
  }

 private:
  /// <d, e> = delta.(d o c) + b.d, `[K, n]`
  template <Backend B>
  static tensor_t<B> teacher_product(B& ctx, const feature_model& model, const label_teacher<B>& teacher,
                                     const residual_map<B>& map) {
    auto z = ctx.matmul_nt(map.shift, teacher.packed_difference);
    if (model.scales()) z = ctx.map(element::add{}, z, ctx.matmul_nt(map.delta, *teacher.scaled));
    return z;
  }

  /// The logits of `exact` from u itself.
  template <Backend B>
  static void exact_logits(B& ctx, const label_block<B>& labels, const residual_map<B>& map,
                           const feature_norms<B>& norms, const conditioned_rows<B>& rows, double scale,
                           tensor_t<B>& z) {
    using real = real_t<B>;
    std::vector<index_type> which;
    for (const auto& e : norms.exact) which.push_back(e.label);
    const auto c = ctx.to_host(ctx.gather_rows(labels.c, which));
    const auto delta = ctx.to_host(map.delta), shift = ctx.to_host(map.shift), v = ctx.to_host(rows.values);
    auto host = ctx.to_host(z);
    for (std::size_t f = 0; f < norms.exact.size(); ++f) {
      const auto& e = norms.exact[f];
      const auto u = detail::exact_feature<real>(c.row(static_cast<index_type>(f)), delta.row(e.condition),
                                                 shift.row(e.condition));
      for (index_type r = 0; r < v.rows(); ++r) {
        if (rows.conditions[static_cast<std::size_t>(r)] != e.condition) continue;
        double num = 0;
        for (std::size_t d = 0; d < u.size(); ++d) num += double(v.row(r)[d]) * u[d];
        host(r, labels.first + e.label) = static_cast<real>(scale * num / std::sqrt(e.q));
      }
    }
    z = ctx.from_host(host.view());
  }
};

}  // namespace negood
