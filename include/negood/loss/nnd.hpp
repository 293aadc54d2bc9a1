/// \file nnd.hpp  Negative-negative distance (NegPrompt, Eq. 6) in closed form.
#pragma once

#include <negood/loss/npd.hpp>

namespace negood {

/// Which of the two published forms.
enum class nnd_form {
  pairwise,  ///< Eq. 6: mean cosine of the pairs within a class
  mean_norm  ///< the released code: length of the mean minus one; same direction, two to four times weaker
};

/// Spreads the p negatives of a class.
///
///     pairwise:   L = (1/(K p (p-1))) sum_k sum_{i != l} <N_ki, N_kl> = (1/(K p (p-1))) sum_k ( |S_k|^2 - sum_l
///     |N_kl|^2 )
///                 dL/dN_ki = 2 (S_k - N_ki) / (K p (p-1)),   S_k = sum_l N_kl
///     mean_norm:  L = (1/K) sum_k |S_k / p| - 1,   dL/dN_ki = (S_k / |S_k|) / (K p)
///
/// negatives `[K p, e]`, class-major, unit rows. O(K p) where the released code loops over pairs. With p = 1 there are
/// no pairs: the value is 0 and so is the gradient (Eq. 6 itself divides by zero).
struct nnd_t {
  template <Backend B>
  loss_value<B> operator()(B& ctx, const tensor_t<B>& negatives, index_type p,
                           nnd_form form = nnd_form::pairwise) const {
    const index_type classes = ctx.rows(negatives) / p;
    if (p == 1) return {ctx.zeros(1, 1), ctx.zeros(ctx.rows(negatives), ctx.cols(negatives))};
    const auto s = detail::sum_over_negatives(ctx, negatives, p);
    const auto class_of = detail::class_of_negative(classes, p);
    if (form == nnd_form::pairwise) {
      const double each = 1.0 / static_cast<double>(classes * p * (p - 1));
      const auto pairs = ctx.map(element::subtract{}, detail::inner_product(ctx, s, s),
                                 detail::inner_product(ctx, negatives, negatives));
      const auto others = ctx.map(element::subtract{}, ctx.gather_rows(s, class_of), negatives);
      return {ctx.map(element::scale{each}, pairs), ctx.map(element::scale{2 * each}, others)};
    }
    const auto length = ctx.map(element::sqrt{}, ctx.reduce_rows(reduction::sum{}, ctx.map(element::square{}, s)));
    const double each = 1.0 / static_cast<double>(classes * p);
    const auto direction = ctx.map_rows(element::divide{}, s, length);
    auto value = ctx.map(element::shift{-1.0}, ctx.map(element::scale{each}, ctx.reduce_all(reduction::sum{}, length)));
    return {std::move(value), ctx.map(element::scale{each}, ctx.gather_rows(direction, class_of))};
  }
};
inline constexpr nnd_t nnd{};

}  // namespace negood
