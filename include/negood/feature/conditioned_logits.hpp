/// \file conditioned_logits.hpp  Logits of images to labels transformed under each image's own condition, for scoring.
#pragma once

#include <negood/feature/product_form.hpp>

namespace negood {

/// z_ki = s <v_k, u_ki>/|u_ki|, u_ki = c_i + delta_k o c_i + b_k, for all images k and labels i of a block.
///
/// rows V and the residuals are `[K, D]`; z goes to columns `labels.first` and on of `z`. Plain form: three products
/// (`product_form`). A backend may instead pass once over C with u in registers: the same number of operations, half
/// the memory, and a squared length that is a sum of squares, so that nothing cancels. A row of z must not depend on
/// the other rows.
struct conditioned_logits_t {
  template <Backend B>
  void operator()(B& ctx, const feature_model& model, const label_block<B>& labels, const residual_map<B>& map,
                  const tensor_t<B>& rows, double scale, const conditioning_options& options, tensor_t<B>& z,
                  conditioning_report& report) const {
    if constexpr (overrides<B, conditioned_logits_t>)
      ctx.fused(*this, labels, map, rows, scale, options, z, report);
    else
      generic(ctx, model, labels, map, rows, scale, options, z, report);
  }
  template <Backend B>
  static void generic(B& ctx, const feature_model& model, const label_block<B>& labels, const residual_map<B>& map,
                      const tensor_t<B>& rows, double scale, const conditioning_options& options, tensor_t<B>& z,
                      conditioning_report& report) {
    std::vector<index_type> own(static_cast<std::size_t>(ctx.rows(rows)));
    for (std::size_t i = 0; i < own.size(); ++i) own[i] = static_cast<index_type>(i);
    const auto no = [&] { return ctx.zeros(0, 0); };
    const map_parameters<tensor_t<B>> none{no(), no(), {no(), no(), no(), no()}, {no(), no(), no(), no()}};
    const auto norms = product_form::norms(ctx, model, labels, map, none, false, options, report);
    product_form::logits(ctx, labels, map, none, norms, {rows, own}, scale, z);
  }
};
inline constexpr conditioned_logits_t conditioned_logits{};

}  // namespace negood
