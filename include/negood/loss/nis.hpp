/// \file nis.hpp  Negative-image separation (NegPrompt, Eq. 4).
#pragma once

#include <negood/loss/cross_entropy.hpp>

namespace negood {

/// Flattens the similarities of every ID image to a set of features: the cross-entropy of a uniform target.
///
///     z_bc = s <I_b, F_c>,   L = (1/B) sum_b [ logsumexp_c z_bc - (1/M) sum_c z_bc ]
///     dL/dF_c = (s/B) sum_b (softmax(z_b)_c - 1/M) I_b
///
/// images `[B, e]`, features `[M, e]`; labels are not used. The paper's features are the negatives only; the released
/// code passes positives and negatives together, which pulls negatives towards ID images (option `nis_scope::all`). L
/// >= log M, and the gradient over the features' logits sums to zero: NIS equalises, it does not repel.
struct nis_t {
  template <Backend B>
  loss_value<B> operator()(B& ctx, const tensor_t<B>& images, const tensor_t<B>& features, double scale) const {
    const double per_image = 1.0 / static_cast<double>(ctx.rows(images));
    const double per_feature = 1.0 / static_cast<double>(ctx.rows(features));
    const auto z = detail::logits(ctx, images, features, scale);
    const auto lse = ctx.reduce_all(reduction::sum{}, logsumexp_rows(ctx, z));
    const auto total = ctx.reduce_all(reduction::sum{}, z);
    auto value = ctx.map(element::scale{per_image}, ctx.map(element::add_scaled{-per_feature}, lse, total));

    const auto dz = ctx.map(element::shift{-per_feature}, softmax_rows(ctx, z));
    return {std::move(value), ctx.map(element::scale{scale * per_image}, ctx.matmul_tn(dz, images))};
  }
};
inline constexpr nis_t nis{};

}  // namespace negood
