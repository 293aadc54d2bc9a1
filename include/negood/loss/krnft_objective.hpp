/// \file krnft_objective.hpp  KR-NFT's whole loss and its gradient to the residuals of every condition.
#pragma once

#include <negood/feature/direct_form.hpp>
#include <negood/loss/grouped_softmax.hpp>

namespace negood {

/// Which way to transformed features; `automatic` takes products unless parameters belong to labels.
enum class feature_evaluation { automatic, products, direct };

struct krnft_loss_options {
  double scale = 100;             ///< s, the exponentiated logit scale
  double outlier_weight = 0.3;    ///< lambda_1
  double knowledge_weight = 100;  ///< lambda_2
  bool measure_knowledge = true;  ///< compute L_kr even where its weight is 0
  double outlier_floor = 0;       ///< 1e-16 as released; 0: the stable form of L_n
  index_type rows_at_once = 256;  ///< rows whose logits live at the same time
  feature_evaluation evaluation = feature_evaluation::automatic;
  conditioning_options conditioning{};
};

/// The rows of a step and what they count.
template <class Real>
struct krnft_batch {
  host_view<Real> rows;                    ///< V, `[R, D]` unit rows
  std::span<const index_type> conditions;  ///< `[R]`, the condition of every row, in [0, K)
  std::span<const index_type> labels;      ///< `[R]`, class or -1 for an outlier
  std::span<const double> weights;         ///< `[R]`, see `grouped_rows`
};

template <Backend B>
struct krnft_loss_value {
  double loss = 0;                             ///< L_p + lambda_1 L_n + lambda_2 L_kr
  double id = 0, outlier = 0, knowledge = 0;   ///< L_p, L_n, L_kr
  std::vector<feature_gradient<B>> gradients;  ///< of every partition
  conditioning_report conditioning;
};

/// L = L_p + lambda_1 L_n + lambda_2 L_kr (KR-NFT, §3) and its gradient to delta_k and b_k.
///
///     L_kr = 1 - (1/(K (N + M))) sum_ki cos(c'_ki, tau_i)        over all labels, those of no group too
///
/// L_p and L_n: see `grouped_losses`; features: `product_form`. `maps` has a residual map for every partition of
/// `labels`, K conditions each (1 where the map is unconditional: then every row has condition 0). Memory: K x (N + M)
/// and rows_at_once x (N + M) numbers a few times, nothing of K x (N + M) x D.
struct krnft_objective_t {
  template <Backend B>
  krnft_loss_value<B> operator()(B& ctx, const feature_model& model, const label_set<B>& labels,
                                 const device_parameters<B>& parameters, const std::vector<residual_map<B>>& maps,
                                 const krnft_batch<real_t<B>>& batch, const krnft_loss_options& options) const {
    const bool direct = options.evaluation == feature_evaluation::direct || model.per_label();
    if (options.evaluation == feature_evaluation::products && model.per_label())
      fail(error_category::usage, "negood.krnft.7", "krnft_objective", "parameters per label have no form in products",
           "use feature_evaluation::direct");
    return direct ? run<direct_form>(ctx, model, labels, parameters, maps, batch, options)
                  : run<product_form>(ctx, model, labels, parameters, maps, batch, options);
  }

 private:
  template <class Form, Backend B>
  static krnft_loss_value<B> run(B& ctx, const feature_model& model, const label_set<B>& labels,
                                 const device_parameters<B>& parameters, const std::vector<residual_map<B>>& maps,
                                 const krnft_batch<real_t<B>>& batch, const krnft_loss_options& o) {
    const index_type k = ctx.rows(maps.front().delta), r = batch.rows.rows;
    check(labels, maps.size(), k, batch);
    const bool knowledge = o.knowledge_weight != 0 || o.measure_knowledge;
    krnft_loss_value<B> out;
    std::vector<feature_norms<B>> norms;
    double distance = 0;
    for (std::size_t part = 0; part < maps.size(); ++part) {
      const auto& block = labels.blocks[part];
      norms.push_back(
          Form::norms(ctx, model, block, maps[part], parameters[part], knowledge, o.conditioning, out.conditioning));
      const index_type n = block.count, width = labels.width;
      out.gradients.push_back({ctx.zeros(k, width), ctx.zeros(k, width), ctx.zeros(k, n),
                               ctx.zeros(maps[part].label_scale ? n : 0, width),
                               ctx.zeros(maps[part].label_shift ? n : 0, width)});
      if (knowledge)
        for (const real_t<B> d : norms.back().distance.values()) distance += double(d);
    }
    const grouped_columns columns{labels.classes, labels.groups, labels.group_size, labels.total()};
    for (index_type first = 0; first < r; first += o.rows_at_once) {
      const index_type count = std::min(o.rows_at_once, r - first);
      const auto at = static_cast<std::size_t>(first), size = static_cast<std::size_t>(count);
      const auto values = ctx.from_host(batch.rows.slice_rows(first, count));
      const conditioned_rows<B> rows{values, batch.conditions.subspan(at, size)};
      auto z = ctx.zeros(count, labels.total());
      for (std::size_t part = 0; part < maps.size(); ++part)
        Form::logits(ctx, labels.blocks[part], maps[part], parameters[part], norms[part], rows, o.scale, z);
      const auto value =
          grouped_losses(ctx, z, columns, {batch.labels.subspan(at, size), batch.weights.subspan(at, size)},
                         {.outlier_weight = o.outlier_weight, .floor = o.outlier_floor});
      out.id += value.id;
      out.outlier += value.outlier;
      for (std::size_t part = 0; part < maps.size(); ++part)
        Form::pull_logits(ctx, labels.blocks[part], maps[part], parameters[part], norms[part], rows, o.scale, z,
                          value.dz, out.gradients[part]);
    }
    const double pairs = static_cast<double>(k) * static_cast<double>(labels.total());
    for (std::size_t part = 0; part < maps.size(); ++part)
      Form::pull_norms(ctx, model, labels.blocks[part], maps[part], parameters[part], norms[part],
                       o.knowledge_weight / pairs, out.gradients[part]);
    out.knowledge = distance / pairs;
    out.loss = out.id + o.outlier_weight * out.outlier + o.knowledge_weight * out.knowledge;
    return out;
  }

  template <Backend B>
  static void check(const label_set<B>& labels, std::size_t parts, index_type k, const krnft_batch<real_t<B>>& batch) {
    if (parts != labels.blocks.size())
      fail(error_category::usage, "negood.krnft.7", "krnft_objective",
           std::to_string(parts) + " maps for labels in " + std::to_string(labels.blocks.size()) + " partitions",
           "make maps and labels for the same model");
    require_shape(batch.rows.cols == labels.width, "krnft_objective", "rows", batch.rows.rows, batch.rows.cols,
                  "labels", labels.total(), labels.width, "widths must match");
    if (static_cast<index_type>(batch.conditions.size()) != batch.rows.rows)
      fail(error_category::data, "negood.krnft.6", "krnft_objective",
           std::to_string(batch.conditions.size()) + " conditions for " + std::to_string(batch.rows.rows) + " rows",
           "one a row");
    for (const index_type c : batch.conditions)
      if (c < 0 || c >= k)
        fail(error_category::data, "negood.krnft.6", "krnft_objective",
             "condition " + std::to_string(c) + " is not in [0, " + std::to_string(k) + ")", "one a row");
  }
};
inline constexpr krnft_objective_t krnft_objective{};

/// The gradient to every parameter: through the networks for what is conditional, as it is for rows of single labels.
template <Backend B>
device_parameters<B> krnft_parameter_gradients(B& ctx, const feature_model& model,
                                               const device_parameters<B>& parameters,
                                               const std::vector<residual_map<B>>& maps, const tensor_t<B>& conditions,
                                               const std::vector<feature_gradient<B>>& gradients) {
  device_parameters<B> out;
  for (std::size_t part = 0; part < maps.size(); ++part) {
    const auto& g = gradients[part];
    auto d = residual_maps_t::pullback(ctx, model, parameters[part], maps[part], conditions, g.delta, g.shift);
    if (maps[part].label_scale) d.scale = ctx.clone(g.label_scale);
    if (maps[part].label_shift) d.shift = ctx.clone(g.label_shift);
    out.push_back(std::move(d));
  }
  return out;
}

}  // namespace negood
