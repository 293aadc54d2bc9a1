/// \file training_loop.hpp  The loop of a fit, which a backend may declare as its own.
#pragma once

#include <negood/train/optimizer.hpp>

#include <concepts>
#include <cstddef>
#include <utility>
#include <vector>

namespace negood {

/// A tensor that learns, and its optimiser's memory.
template <Backend B>
struct learned_tensor {
  tensor_t<B> value;
  optimizer_state<B> optimizer;
};

/// What the loop asks of a fit:
///
/// | member | meaning |
/// |---|---|
/// | `more()` | there is another step |
/// | `parameters()` | pointers to what learns, the same in every step |
/// | `optimizer()`, `rate()` | the update's options; its learning rate in this step |
/// | `gradients()` | of the loss of this step to the parameters, in their order |
/// | `finish_step()` | reports, checkpoints, goes to the next step; false if the numbers are no longer finite |
template <class O, class B>
concept Objective = requires(O& o) {
  { o.more() } -> std::convertible_to<bool>;
  { o.parameters() } -> std::same_as<std::vector<learned_tensor<B>*>>;
  { o.optimizer() } -> std::convertible_to<const optimizer_options&>;
  { o.rate() } -> std::convertible_to<double>;
  { o.gradients() } -> std::same_as<std::vector<tensor_t<B>>>;
  { o.finish_step() } -> std::convertible_to<bool>;
};

/// Trains to the last step.
///
///     g = dL/dw,   w <- update(w, g, rate)          optimizer.hpp
///
/// Returns false where `finish_step` did. Whoever overrides it keeps `value` and `optimizer` of the parameters up to
/// date when `finish_step` is called: a checkpoint is made of them.
struct training_loop_t {
  template <Backend B, Objective<B> O>
  bool operator()(B& ctx, O& objective) const {
    if constexpr (overrides<B, training_loop_t>)
      return ctx.fused(*this, objective);
    else
      return generic(ctx, objective);
  }
  template <Backend B, Objective<B> O>
  static bool generic(B& ctx, O& objective) {
    const auto parameters = objective.parameters();
    while (objective.more()) {
      const auto gradients = objective.gradients();
      for (std::size_t i = 0; i < parameters.size(); ++i)
        optimizer_step(ctx, objective.optimizer(), objective.rate(), parameters[i]->value, gradients[i],
                       parameters[i]->optimizer);
      if (!objective.finish_step()) return false;
    }
    return true;
  }
};
inline constexpr training_loop_t training_loop{};

/// Scalars of a step, kept where they were computed and fetched together: each fetch waits for the device.
template <Backend B>
class step_scalars {
 public:
  /// `to` receives the `[1, 1]` tensor `value` from `fetch`.
  void keep(tensor_t<B> value, double& to) {
    values_.push_back(std::move(value));
    to_.push_back(&to);
  }
  void fetch(B& ctx) {
    const auto n = static_cast<index_type>(values_.size());
    auto all = ctx.zeros(1, n);
    for (index_type i = 0; i < n; ++i) ctx.paste(all, values_[static_cast<std::size_t>(i)], 0, i);
    const auto here = ctx.to_host(all);
    for (index_type i = 0; i < n; ++i) *to_[static_cast<std::size_t>(i)] = static_cast<double>(here(0, i));
    values_.clear();
    to_.clear();
  }

 private:
  std::vector<tensor_t<B>> values_;
  std::vector<double*> to_;
};

}  // namespace negood
