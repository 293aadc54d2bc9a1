/// \file feature_lengths.hpp  The element work between the products of feature maps: lengths, logits, and back.
///
/// Four passes over matrices of K or R rows and n labels. Each is a few dozen maps in its plain form, a few rows at a
/// time, and one loop where a backend fuses it.
#pragma once

#include <negood/feature/label_set.hpp>

namespace negood {

/// What products with C, E = C o C and d leave for K conditions and n labels.
template <Backend B>
struct length_products {
  tensor_t<B> on_c;  ///< with the knowledge loss b.C over 2 (delta o b).C, `[2K, n]`; without 2 (b + delta o b).C
  tensor_t<B> on_e;  ///< delta.E over (delta o delta).E; without delta o (2 + delta) . E; no rows where unscaled
  tensor_t<B> on_d;  ///< <d, e>, `[K, n]`; with a teacher only
  tensor_t<B> b2;    ///< |b|^2, `[K, 1]`
  tensor_t<B> floor, length, half;  ///< smallest q, |c|, 1/(2 |tau|), `[1, n]`
};

template <Backend B>
struct feature_lengths_value {
  tensor_t<B> t;         ///< 1/|u|, `[K, n]`
  tensor_t<B> w, slope;  ///< <tau, u> and <u - tau, u>; no rows without the knowledge loss
  tensor_t<B> ratio;     ///< the largest |c|/|u| of each condition, `[K, 1]`
  tensor_t<B> distance;  ///< sum_i (1 - cos(tau_i, u_ki)), `[K, 1]`
};

/// q = |c|^2 + 2X + Y raised to its floor, t = q^(-1/2), w, slope and distances: see `product_form`.
///
/// `each` receives the single distances where it is not null.
struct feature_lengths_t {
  template <Backend B>
  feature_lengths_value<B> operator()(B& ctx, const label_block<B>& labels, const length_products<B>& p, bool knowledge,
                                      tensor_t<B>* each = nullptr) const {
    if constexpr (overrides<B, feature_lengths_t>) {
      if (!labels.teacher && !each) return ctx.fused(*this, labels, p, knowledge);
    }
    return generic(ctx, labels, p, knowledge, each);
  }
  template <Backend B>
  static feature_lengths_value<B> generic(B& ctx, const label_block<B>& labels, const length_products<B>& p,
                                          bool knowledge, tensor_t<B>* each = nullptr) {
    const index_type k = ctx.rows(p.b2), n = labels.count;
    const bool scales = ctx.rows(p.on_e) > 0;
    feature_lengths_value<B> out{ctx.zeros(k, n), ctx.zeros(knowledge ? k : 0, n), ctx.zeros(knowledge ? k : 0, n),
                                 ctx.zeros(k, 1), ctx.zeros(k, 1)};
    detail::for_each_row_block(ctx, k, [&](B& c, index_type first, index_type count, index_type) {
      const auto part = [&](const tensor_t<B>& from, index_type row) {
        return c.block(from, row + first, 0, count, n);
      };
      const auto both = [&](index_type row) {
        auto x = part(p.on_c, row);
        return scales ? c.map(element::add{}, x, part(p.on_e, row)) : std::move(x);
      };
      auto x = both(0);
      auto y = c.map_rows(element::add{}, knowledge ? both(k) : std::move(x), c.block(p.b2, first, 0, count, 1));
      auto grown = knowledge ? c.map(element::add_scaled{2.0}, y, x) : std::move(y);  // q - |c|^2
      const auto q = c.map_cols(element::maximum{}, c.map_cols(element::add{}, grown, labels.s2), p.floor);
      const auto l = c.map(element::sqrt{}, q), t = c.map(element::reciprocal{}, l);
      c.paste(out.t, t, first, 0);
      c.paste(out.ratio, c.reduce_rows(reduction::maximum{}, c.map_cols(element::multiply{}, t, p.length)), first, 0);
      if (!knowledge) return;
      if (labels.teacher) {  // e + d in place of e, seen from tau
        const auto z = part(p.on_d, 0);
        y = c.map_cols(element::add{}, c.map(element::add_scaled{2.0}, y, z), labels.teacher->square);
        x = c.map_cols(element::add{}, c.map(element::subtract{}, x, z), labels.teacher->along);
        grown = c.map(element::add_scaled{2.0}, y, x);
      }
      c.paste(out.w, c.map_cols(element::add{}, x, labels.teacher_s2), first, 0);
      c.paste(out.slope, c.map(element::add{}, x, y), first, 0);
      const auto d = detail::cosine_distance(c, y, grown, l, t, labels.teacher_length, p.half);
      c.paste(out.distance, c.reduce_rows(reduction::sum{}, d), first, 0);
      if (each) c.paste(*each, d, first, 0);
    });
    return out;
  }
};
inline constexpr feature_lengths_t feature_lengths{};

template <Backend B>
struct length_slopes {
  tensor_t<B> p;   ///< -P1 over -P2, `[2K, n]`; without the knowledge loss -T, `[K, n]`
  tensor_t<B> p2;  ///< -sum_i P2, `[K, 1]`
};

/// -P1 = t^2 r + h t^3 slope and -P2 = t^2 r - h t^3 w, r = sum over rows of z dL/dz (`pulled`), h `[1, n]`.
///
/// w and slope have no rows without the knowledge loss. Pullback of `feature_lengths` but for its last products.
struct length_slopes_t {
  template <Backend B>
  length_slopes<B> operator()(B& ctx, const tensor_t<B>& t, const tensor_t<B>& w, const tensor_t<B>& slope,
                              const tensor_t<B>& pulled, const tensor_t<B>& h) const {
    if constexpr (overrides<B, length_slopes_t>)
      return ctx.fused(*this, t, w, slope, pulled, h);
    else
      return generic(ctx, t, w, slope, pulled, h);
  }
  template <Backend B>
  static length_slopes<B> generic(B& ctx, const tensor_t<B>& t, const tensor_t<B>& w, const tensor_t<B>& slope,
                                  const tensor_t<B>& pulled, const tensor_t<B>& h) {
    const index_type k = ctx.rows(t), n = ctx.cols(t);
    const bool knowledge = ctx.rows(w) > 0;
    length_slopes<B> out{ctx.zeros(knowledge ? 2 * k : k, n), ctx.zeros(k, 1)};
    detail::for_each_row_block(ctx, k, [&](B& c, index_type first, index_type count, index_type) {
      const auto here = [&](const tensor_t<B>& m) { return c.block(m, first, 0, count, n); };
      const auto times = [&](const tensor_t<B>& a, const tensor_t<B>& b) { return c.map(element::multiply{}, a, b); };
      const auto t1 = here(t), t2 = c.map(element::square{}, t1);
      auto m = times(t2, here(pulled));
      if (knowledge) {
        const auto t3h = c.map_cols(element::multiply{}, times(t2, t1), h);
        c.paste(out.p, c.map(element::add{}, m, times(t3h, here(slope))), first, 0);
        m = c.map(element::subtract{}, m, times(t3h, here(w)));
      }
      c.paste(out.p, m, knowledge ? k + first : first, 0);
      c.paste(out.p2, c.reduce_rows(reduction::sum{}, m), first, 0);
    });
    return out;
  }
};
inline constexpr length_slopes_t length_slopes_of{};

/// z_ri = (on_c_ri + constant_r) t_{k(r) i}, into columns `first` and on of z. on_c `[R, n]`, constant `[R, 1]`.
struct divided_logits_t {
  template <Backend B>
  void operator()(B& ctx, const tensor_t<B>& on_c, const tensor_t<B>& constant, const tensor_t<B>& t,
                  std::span<const index_type> conditions, index_type first, tensor_t<B>& z) const {
    if constexpr (overrides<B, divided_logits_t>)
      ctx.fused(*this, on_c, constant, t, conditions, first, z);
    else
      generic(ctx, on_c, constant, t, conditions, first, z);
  }
  template <Backend B>
  static void generic(B& ctx, const tensor_t<B>& on_c, const tensor_t<B>& constant, const tensor_t<B>& t,
                      std::span<const index_type> conditions, index_type column, tensor_t<B>& z) {
    const index_type n = ctx.cols(on_c);
    detail::for_each_row_block(ctx, ctx.rows(on_c), [&](B& c, index_type first, index_type count, index_type) {
      const auto own = conditions.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
      const auto num =
          c.map_rows(element::add{}, c.block(on_c, first, 0, count, n), c.block(constant, first, 0, count, 1));
      c.paste(z, c.map(element::multiply{}, num, c.gather_rows(t, own)), first, column);
    });
  }
};
inline constexpr divided_logits_t divided_logits{};

template <Backend B>
struct logit_slopes {
  tensor_t<B> a;      ///< t dL/dz, `[R, n]`
  tensor_t<B> a_sum;  ///< its sum over labels, `[R, 1]`
};

/// a = t_k(r) dL/dz, and dL/dz z added to row k(r) of `pulled`, in the order of the rows.
struct divided_logits_pullback_t {
  template <Backend B>
  logit_slopes<B> operator()(B& ctx, const tensor_t<B>& t, std::span<const index_type> conditions, index_type first,
                             const tensor_t<B>& z, const tensor_t<B>& dz, tensor_t<B>& pulled) const {
    if constexpr (overrides<B, divided_logits_pullback_t>)
      return ctx.fused(*this, t, conditions, first, z, dz, pulled);
    else
      return generic(ctx, t, conditions, first, z, dz, pulled);
  }
  template <Backend B>
  static logit_slopes<B> generic(B& ctx, const tensor_t<B>& t, std::span<const index_type> conditions,
                                 index_type column, const tensor_t<B>& z, const tensor_t<B>& dz, tensor_t<B>& pulled) {
    const index_type r = ctx.rows(z), n = ctx.cols(t);
    logit_slopes<B> out{ctx.zeros(r, n), ctx.zeros(r, 1)};
    struct portion {
      std::vector<index_type> conditions;
      std::optional<tensor_t<B>> pulled;
    };
    std::vector<portion> portions(static_cast<std::size_t>(detail::row_blocks<B>(r)));
    detail::for_each_row_block(ctx, r, [&](B& c, index_type first, index_type count, index_type block) {
      const auto own = conditions.subspan(static_cast<std::size_t>(first), static_cast<std::size_t>(count));
      const auto g = c.block(dz, first, column, count, n), a = c.map(element::multiply{}, g, c.gather_rows(t, own));
      c.paste(out.a_sum, c.reduce_rows(reduction::sum{}, a), first, 0);
      c.paste(out.a, a, first, 0);
      portion& p = portions[static_cast<std::size_t>(block)];
      std::vector<index_type> local;
      for (const index_type k : own) {
        const auto at = std::ranges::find(p.conditions, k);
        local.push_back(at - p.conditions.begin());
        if (at == p.conditions.end()) p.conditions.push_back(k);
      }
      auto sum = c.zeros(static_cast<index_type>(p.conditions.size()), n);
      c.scatter_add_rows(sum, local, c.map(element::multiply{}, g, c.block(z, first, column, count, n)));
      p.pulled.emplace(std::move(sum));
    });
    for (const portion& p : portions) ctx.scatter_add_rows(pulled, p.conditions, *p.pulled);
    return out;
  }
};
inline constexpr divided_logits_pullback_t divided_logits_pullback{};

}  // namespace negood
