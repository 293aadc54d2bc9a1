/// \file meta_net.hpp  The small network that makes a feature map depend on the image, and the residuals of a map.
#pragma once

#include <negood/feature/feature_parameters.hpp>

#include <limits>

namespace negood {

/// The output of a network and what its pullback needs.
template <Backend B>
struct meta_net_value {
  tensor_t<B> out;     ///< `[K, D]`
  tensor_t<B> hidden;  ///< `[K, H]`, relu(W1 x + b1)
};

/// F(x) = W2 relu(W1 x + b1) + b2 for each row of x `[K, D]`.
///
///     pullback of g `[K, D]`:  dW2 = g' h,  db2 = sum_k g_k,  r = (g W2) o [h > 0],  dW1 = r' x,  db1 = sum_k r_k
///
/// No gradient to x: the image encoder is frozen. The derivative of relu at 0 is 0.
struct meta_net_t {
  template <Backend B>
  meta_net_value<B> operator()(B& ctx, const meta_net_weights<tensor_t<B>>& net, const tensor_t<B>& x) const {
    const auto before = ctx.map_cols(element::add{}, ctx.matmul_nt(x, net.w1), net.b1);
    auto hidden = ctx.map_rows(element::maximum{}, before, ctx.zeros(ctx.rows(x), 1));
    auto out = ctx.map_cols(element::add{}, ctx.matmul_nt(hidden, net.w2), net.b2);
    return {std::move(out), std::move(hidden)};
  }
  template <Backend B>
  static meta_net_weights<tensor_t<B>> pullback(B& ctx, const meta_net_weights<tensor_t<B>>& net, const tensor_t<B>& x,
                                                const tensor_t<B>& hidden, const tensor_t<B>& g) {
    // h/max(h, tiny) is 1 where h > 0 and 0 where h = 0.
    const auto tiny = ctx.map(element::shift{static_cast<double>(std::numeric_limits<real_t<B>>::min())},
                              ctx.zeros(ctx.rows(hidden), 1));
    const auto open = ctx.map(element::divide{}, hidden, ctx.map_rows(element::maximum{}, hidden, tiny));
    const auto r = ctx.map(element::multiply{}, ctx.matmul(g, net.w2), open);
    return {ctx.matmul_tn(r, x), ctx.reduce_cols(reduction::sum{}, r), ctx.matmul_tn(g, hidden),
            ctx.reduce_cols(reduction::sum{}, g)};
  }
};
inline constexpr meta_net_t meta_net{};

/// The residuals of one partition for K conditions: e_ki = delta_k o c_i + b_k, without what belongs to single labels.
template <Backend B>
struct residual_map {
  tensor_t<B> delta;  ///< `[K, D]`, zero where the map does not scale
  tensor_t<B> shift;  ///< `[K, D]`, zero where it does not shift
  tensor_t<B> scale_hidden, shift_hidden;
  bool label_scale = false, label_shift = false;  ///< the parameters of the partition hold a row a label besides
};

/// delta = (alpha - 1) + F_alpha(x), b = beta + F_beta(x) for every condition x `[K, D]` and partition.
///
/// An unconditional map has one row, K = 1, whatever the conditions. Pullback: the gradient of a row goes to alpha and
/// to the bias b2 of its network alike; rows add up. `d` is `[K, D]` each, parameters per label get none here.
struct residual_maps_t {
  template <Backend B>
  std::vector<residual_map<B>> operator()(B& ctx, const feature_model& model, const device_parameters<B>& parameters,
                                          const tensor_t<B>& conditions) const {
    const index_type k = model.conditional ? ctx.rows(conditions) : 1, width = ctx.cols(conditions);
    std::vector<residual_map<B>> out;
    for (const auto& p : parameters) {
      const auto half = [&](parameter_scope scope, const tensor_t<B>& constant,
                            const meta_net_weights<tensor_t<B>>& net) -> meta_net_value<B> {
        if (scope == parameter_scope::none) return {ctx.zeros(k, width), ctx.zeros(0, 0)};
        const bool shared = scope == parameter_scope::shared;
        if (!model.conditional) return {shared ? ctx.clone(constant) : ctx.zeros(1, width), ctx.zeros(0, 0)};
        auto value = meta_net(ctx, net, conditions);
        if (shared) value.out = ctx.map_cols(element::add{}, value.out, constant);
        return value;
      };
      auto scale = half(model.scale, p.scale, p.scale_net), shift = half(model.shift, p.shift, p.shift_net);
      out.push_back({std::move(scale.out), std::move(shift.out), std::move(scale.hidden), std::move(shift.hidden),
                     model.scale == parameter_scope::per_label, model.shift == parameter_scope::per_label});
    }
    return out;
  }

  template <Backend B>
  static map_parameters<tensor_t<B>> pullback(B& ctx, const feature_model& model, const map_parameters<tensor_t<B>>& p,
                                              const residual_map<B>& map, const tensor_t<B>& conditions,
                                              const tensor_t<B>& d_delta, const tensor_t<B>& d_shift) {
    const auto constant = [&](parameter_scope scope, const tensor_t<B>& d) {
      return scope == parameter_scope::shared ? ctx.reduce_cols(reduction::sum{}, d) : ctx.zeros(0, 0);
    };
    const auto net = [&](parameter_scope scope, const meta_net_weights<tensor_t<B>>& w, const tensor_t<B>& hidden,
                         const tensor_t<B>& d) {
      if (scope == parameter_scope::none || !model.conditional)
        return meta_net_weights<tensor_t<B>>{ctx.zeros(0, 0), ctx.zeros(0, 0), ctx.zeros(0, 0), ctx.zeros(0, 0)};
      return meta_net_t::pullback(ctx, w, conditions, hidden, d);
    };
    return {constant(model.scale, d_delta), constant(model.shift, d_shift),
            net(model.scale, p.scale_net, map.scale_hidden, d_delta),
            net(model.shift, p.shift_net, map.shift_hidden, d_shift)};
  }
};
inline constexpr residual_maps_t residual_maps{};

}  // namespace negood
