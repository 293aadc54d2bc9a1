/// \file optim.hpp  A context whose fits are moved by LibTorch's optimisers.
///
/// Not included by torch.hpp: the headers of torch::optim are heavy.
#pragma once

#include <negood/backend/torch/context.hpp>
#include <negood/train/training_loop.hpp>

#include <torch/optim/adamw.h>
#include <torch/optim/sgd.h>

#include <memory>
#include <sstream>
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

namespace negood::libtorch {

/// The context with `torch::optim::SGD` and `torch::optim::AdamW` in the training loop. Gradients are the library's
/// own, in closed form; no graph is recorded.
template <class Real>
using optim_context = context<Real, training_loop_t>;

namespace detail {

/// The learning rate is set at every step.
inline std::unique_ptr<::torch::optim::Optimizer> make_optimizer(std::vector<at::Tensor> leaves,
                                                                 const optimizer_options& o) {
  if (o.kind == optimizer_kind::sgd)
    return std::make_unique<::torch::optim::SGD>(
        std::move(leaves), ::torch::optim::SGDOptions(0).momentum(o.momentum).weight_decay(o.weight_decay));
  return std::make_unique<::torch::optim::AdamW>(std::move(leaves), ::torch::optim::AdamWOptions(0)
                                                                        .betas(std::make_tuple(o.beta1, o.beta2))
                                                                        .eps(o.epsilon)
                                                                        .weight_decay(o.weight_decay));
}

/// What an optimiser's memory of a tensor is found by: a string in LibTorch 1.13, an address in 2.x.
template <class Key>
Key state_key(const at::Tensor& leaf) {
  if constexpr (std::is_same_v<Key, std::string>) {
    std::ostringstream text;
    text << leaf.unsafeGetTensorImpl();
    return text.str();
  } else {
    return leaf.unsafeGetTensorImpl();
  }
}

/// Makes `state` the optimiser's memory of `leaf`. Both optimisers update it in place, so that it can be saved at any
/// time, as after negood's own step.
template <class B>
void attach_state(::torch::optim::Optimizer& optimizer, optimizer_kind kind, const at::Tensor& leaf,
                  const optimizer_state<B>& state) {
  auto& states = optimizer.state();
  auto& slot = states[state_key<typename std::decay_t<decltype(states)>::key_type>(leaf)];
  if (kind == optimizer_kind::sgd) {
    auto s = std::make_unique<::torch::optim::SGDParamState>();
    s->momentum_buffer(state.first.torch());
    slot = std::move(s);
  } else {
    auto s = std::make_unique<::torch::optim::AdamWParamState>();
    s->step(state.step);
    s->exp_avg(state.first.torch());
    s->exp_avg_sq(state.second.torch());
    slot = std::move(s);
  }
}

}  // namespace detail

/// The training loop over leaves that share the parameters' memory: `.grad` is filled from the objective's gradients.
/// Equal to `training_loop_t::generic` up to rounding. Without momentum LibTorch keeps no velocity, and that of a
/// checkpoint stays what it was; nothing reads it. \throws c10::Error for options LibTorch refuses
template <class Real, class... More, Objective<context<Real, More...>> O>
bool run_declared(context<Real, More...>&, training_loop_t, O& objective) {
  const auto parameters = objective.parameters();
  std::vector<at::Tensor> leaves;
  for (const auto* p : parameters) leaves.push_back(p->value.torch().detach().set_requires_grad(true));
  const auto optimizer = detail::make_optimizer(leaves, objective.optimizer());
  for (std::size_t i = 0; i < leaves.size(); ++i)
    detail::attach_state(*optimizer, objective.optimizer().kind, leaves[i], parameters[i]->optimizer);

  while (objective.more()) {
    const auto gradients = objective.gradients();
    for (std::size_t i = 0; i < leaves.size(); ++i) leaves[i].mutable_grad() = gradients[i].torch();
    for (auto& group : optimizer->param_groups()) group.options().set_lr(objective.rate());
    optimizer->step();
    for (auto* p : parameters) ++p->optimizer.step;
    if (!objective.finish_step()) return false;
  }
  return true;
}

}  // namespace negood::libtorch
