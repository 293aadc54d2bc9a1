/// \file npd.hpp  Negative-positive distance (NegPrompt, Eq. 5).
#pragma once

#include <negood/loss/cross_entropy.hpp>

namespace negood {

/// A loss and its gradients to negatives and positives.
template <Backend B>
struct npd_value {
  tensor_t<B> value;
  tensor_t<B> d_negative;  ///< `[K p, e]`
  tensor_t<B> d_positive;  ///< `[K, e]`; used only when positives learn too (one-stage training)
};

namespace detail {

/// Rows l, p + l, 2 p + l, ...: negative l of every class, of class-major `[K p, e]`.
inline std::vector<index_type> rows_of_negative(index_type classes, index_type p, index_type l) {
  std::vector<index_type> rows;
  for (index_type k = 0; k < classes; ++k) rows.push_back(k * p + l);
  return rows;
}

/// S_k = sum_l N_kl, `[K, e]`
template <Backend B>
tensor_t<B> sum_over_negatives(B& ctx, const tensor_t<B>& negatives, index_type p) {
  const index_type classes = ctx.rows(negatives) / p;
  auto total = ctx.gather_rows(negatives, rows_of_negative(classes, p, 0));
  for (index_type l = 1; l < p; ++l)
    total = ctx.map(element::add{}, total, ctx.gather_rows(negatives, rows_of_negative(classes, p, l)));
  return total;
}

/// 0 0 .. 0 1 1 .. 1 ..: the class of every negative.
inline std::vector<index_type> class_of_negative(index_type classes, index_type p) {
  std::vector<index_type> rows;
  for (index_type k = 0; k < classes; ++k) rows.insert(rows.end(), static_cast<std::size_t>(p), k);
  return rows;
}

}  // namespace detail

/// Pulls every negative towards the positive of its own class, so that it stays near the class it fences.
///
///     L = -(1/(K p)) sum_kl <N_kl, P_k>,   dL/dN_kl = -P_k/(K p),   dL/dP_k = -(1/(K p)) sum_l N_kl
///
/// positives `[K, e]`, negatives `[K p, e]`, class-major. The released code adds 1 to this, and under its default
/// multi-label loss flips the sign (a negative weight here).
struct npd_t {
  template <Backend B>
  npd_value<B> operator()(B& ctx, const tensor_t<B>& positives, const tensor_t<B>& negatives, index_type p) const {
    const index_type classes = ctx.rows(positives);
    require_shape(ctx.rows(negatives) == classes * p && ctx.cols(negatives) == ctx.cols(positives), "npd", "positives",
                  classes, ctx.cols(positives), "negatives", ctx.rows(negatives), ctx.cols(negatives),
                  "there must be p negatives a class, of the same width");
    const element::scale each{-1.0 / static_cast<double>(classes * p)};
    const auto own = ctx.gather_rows(positives, detail::class_of_negative(classes, p));
    return {ctx.map(each, detail::inner_product(ctx, own, negatives)), ctx.map(each, own),
            ctx.map(each, detail::sum_over_negatives(ctx, negatives, p))};
  }
};
inline constexpr npd_t npd{};

}  // namespace negood
