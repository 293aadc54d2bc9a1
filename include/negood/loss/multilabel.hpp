/// \file multilabel.hpp  The multi-label loss the released NegPrompt code trains with by default ('MSP').
#pragma once

#include <negood/loss/cross_entropy.hpp>

namespace negood {

/// Multi-label soft margin over all prompts; the positive and all negatives of the true class are targets.
///
///     L = (1/(B C)) sum_bc [ softplus(z_bc) - t_bc z_bc ],   z_bc = s <I_b, F_c>
///     dL/dF_c = (s/(B C)) sum_b (sigmoid(z_bc) - t_bc) I_b
///
/// images `[B, e]`, features `[C, e]`; `targets[b]` lists the columns with t = 1. Kept as a regression oracle of the
/// released formulas: at CLIP's scale sigmoid is 1 everywhere, so the gradient does not depend on similarity (it is not
/// NIS).
struct multilabel_t {
  template <Backend B>
  loss_value<B> operator()(B& ctx, const tensor_t<B>& images, const tensor_t<B>& features,
                           std::span<const std::vector<index_type>> targets, double scale) const {
    const index_type images_count = ctx.rows(images), c = ctx.rows(features);
    const double per_logit = 1.0 / static_cast<double>(images_count * c);
    host_matrix<real_t<B>> chosen(images_count, c);
    for (index_type b = 0; b < images_count; ++b)
      for (const index_type column : targets[b]) chosen(b, column) = 1;
    const auto t = ctx.from_host(chosen.view());
    const auto z = detail::logits(ctx, images, features, scale);
    const auto soft = ctx.reduce_all(reduction::sum{}, ctx.map(element::softplus{}, z));
    auto value =
        ctx.map(element::scale{per_logit}, ctx.map(element::subtract{}, soft, detail::inner_product(ctx, t, z)));

    const auto dz = ctx.map(element::subtract{}, ctx.map(element::sigmoid{}, z), t);
    return {std::move(value), ctx.map(element::scale{scale * per_logit}, ctx.matmul_tn(dz, images))};
  }
};
inline constexpr multilabel_t multilabel{};

}  // namespace negood
