/// \file optimizer.hpp  SGD with momentum and AdamW, on the one small tensor that learns.
#pragma once

#include <negood/backend/concepts.hpp>

#include <cmath>

namespace negood {

enum class optimizer_kind { sgd, adamw };

struct optimizer_options {
  optimizer_kind kind = optimizer_kind::sgd;
  double momentum = 0.9;                              ///< SGD
  double weight_decay = 5e-4;                         ///< SGD: added to the gradient; AdamW: decoupled
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;  ///< AdamW
};

/// The optimiser's memory of one parameter; saved with a checkpoint.
template <Backend B>
struct optimizer_state {
  tensor_t<B> first;    ///< velocity (SGD) or mean gradient (AdamW)
  tensor_t<B> second;   ///< mean squared gradient (AdamW)
  index_type step = 0;  ///< updates made
};

template <Backend B>
optimizer_state<B> new_optimizer_state(B& ctx, const tensor_t<B>& parameter) {
  return {ctx.zeros(ctx.rows(parameter), ctx.cols(parameter)), ctx.zeros(ctx.rows(parameter), ctx.cols(parameter)), 0};
}

/// One update.
///
///     SGD:    v = mu v + (g + wd w),   w -= lr v                       (PyTorch's form: no dampening, no Nesterov)
///     AdamW:  w *= 1 - lr wd;  m = b1 m + (1-b1) g;  r = b2 r + (1-b2) g^2
///             w -= lr (m / (1 - b1^t)) / (sqrt(r / (1 - b2^t)) + eps)
struct optimizer_step_t {
  template <Backend B>
  void operator()(B& ctx, const optimizer_options& o, double rate, tensor_t<B>& w, const tensor_t<B>& g,
                  optimizer_state<B>& s) const {
    if constexpr (overrides<B, optimizer_step_t>)
      ctx.fused(*this, o, rate, w, g, s);
    else
      generic(ctx, o, rate, w, g, s);
  }
  template <Backend B>
  static void generic(B& ctx, const optimizer_options& o, double rate, tensor_t<B>& w, const tensor_t<B>& g,
                      optimizer_state<B>& s) {
    s.step += 1;
    if (o.kind == optimizer_kind::sgd) {
      const auto decayed = ctx.map(element::add_scaled{o.weight_decay}, g, w);
      s.first = ctx.map(element::add_scaled{o.momentum}, decayed, s.first);
      w = ctx.map(element::add_scaled{-rate}, w, s.first);
      return;
    }
    const auto t = static_cast<double>(s.step);
    w = ctx.map(element::scale{1 - rate * o.weight_decay}, w);
    s.first = ctx.map(element::add_scaled{1 - o.beta1}, ctx.map(element::scale{o.beta1}, s.first), g);
    s.second = ctx.map(element::add_scaled{1 - o.beta2}, ctx.map(element::scale{o.beta2}, s.second),
                       ctx.map(element::square{}, g));
    const auto m = ctx.map(element::scale{1 / (1 - std::pow(o.beta1, t))}, s.first);
    const auto r = ctx.map(element::scale{1 / (1 - std::pow(o.beta2, t))}, s.second);
    const auto denominator = ctx.map(element::shift{o.epsilon}, ctx.map(element::sqrt{}, r));
    w = ctx.map(element::add_scaled{-rate}, w, ctx.map(element::divide{}, m, denominator));
  }
};
inline constexpr optimizer_step_t optimizer_step{};

}  // namespace negood
