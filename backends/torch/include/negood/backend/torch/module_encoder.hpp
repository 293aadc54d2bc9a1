/// \file module_encoder.hpp  A module of LibTorch's as an encoder: rows in, unit features out, gradients to the input.
#pragma once

#include <negood/backend/torch/context.hpp>
#include <negood/math/normalise.hpp>

#include <ATen/core/grad_mode.h>
#include <torch/csrc/autograd/autograd.h>

#include <concepts>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

namespace negood::libtorch {

/// A `torch::nn` module by its holder.
template <class M>
concept module_holder = requires(M& m, const at::Tensor& x) {
  m->eval();
  m->parameters();
  { m->forward(x) } -> std::convertible_to<at::Tensor>;
};
/// Anything else that gives a tensor for a tensor: a lambda, a `script_function`.
template <class F>
concept tensor_function = !module_holder<F> && requires(F & f, const at::Tensor& x) {
  { f(x) } -> std::convertible_to<at::Tensor>;
};

/// An encoder of anything that takes one tensor `[N, shape...]` and gives `[N, D]`.
class module_encoder {
 public:
  /// `shape` is that of one sample, `{3, 224, 224}` for pictures; empty: a row as it is.
  template <tensor_function Function>
  explicit module_encoder(Function function, std::vector<std::int64_t> shape = {})
      : function_(std::move(function)), shape_(std::move(shape)) {}
  /// The module is put into evaluation mode, and its parameters get no gradient.
  template <module_holder Module>
  explicit module_encoder(Module module, std::vector<std::int64_t> shape = {}) : shape_(std::move(shape)) {
    module->eval();
    for (auto& parameter : module->parameters()) parameter.set_requires_grad(false);
    function_ = [module = std::move(module)](const at::Tensor& x) mutable -> at::Tensor { return module->forward(x); };
  }

  /// Unit features of N rows: `[N, values]` -> `[N, D]`.
  template <class Real, class... More>
  tensor<Real> operator()(context<Real, More...>& ctx, const tensor<Real>& input) const {
    const at::NoGradGuard guard;
    return normalise_rows(ctx, tensor<Real>::adopt(forward(input.torch()))).unit;
  }

  /// Unit features and the way back to the input; only the input gets a gradient.
  template <class B>
  struct linearised {
    tensor_t<B> value;  ///< `[N, D]`, unit rows
    /// d value `[N, D]` -> d input `[N, values]`.
    tensor_t<B> pullback(B& ctx, const tensor_t<B>& d_value) const {
      const auto d_raw = normalise_rows.pullback(ctx, normalised, d_value);
      return tensor_t<B>::adopt(
          ::torch::autograd::grad({output}, {input}, {d_raw.torch()}, /*retain_graph=*/true).front());
    }
    normalised_rows<B> normalised;
    at::Tensor input, output;
  };
  template <class Real, class... More>
  linearised<context<Real, More...>> linearize(context<Real, More...>& ctx, const tensor<Real>& input) const {
    const at::AutoGradMode recording(true);
    at::Tensor leaf = input.torch().detach().clone().set_requires_grad(true);
    at::Tensor output = forward(leaf);
    auto normalised = normalise_rows(ctx, tensor<Real>::adopt(output));
    auto value = ctx.clone(normalised.unit);
    return {std::move(value), std::move(normalised), std::move(leaf), std::move(output)};
  }

 private:
  /// \throws error negood.torch.3 where the function gives no `[N, D]`
  at::Tensor forward(const at::Tensor& rows) const {
    at::Tensor shaped = rows;
    if (!shape_.empty()) {
      std::vector<std::int64_t> sizes{rows.size(0)};
      sizes.insert(sizes.end(), shape_.begin(), shape_.end());
      shaped = rows.reshape(sizes);
    }
    at::Tensor out = function_(shaped);
    if (!out.defined() || out.dim() != 2 || out.size(0) != rows.size(0))
      fail(error_category::artifact, "negood.torch.3", "module_encoder", "the module gave no [N, D] tensor",
           "it must take one tensor [N, ...] and give one feature a row");
    return out;
  }

  std::function<at::Tensor(const at::Tensor&)> function_;
  std::vector<std::int64_t> shape_;
};

}  // namespace negood::libtorch
