/// \file module_encoder.hpp  A TorchScript module as an encoder: rows in, unit features out, gradients to the input.
///
/// Not included by torch.hpp: <torch/script.h> is a heavy header.
#pragma once

#include <negood/backend/torch/context.hpp>
#include <negood/math/normalise.hpp>

#include <torch/csrc/autograd/autograd.h>
#include <torch/script.h>

#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace negood::libtorch {

/// A module whose `forward` takes one tensor `[N, shape...]` and gives `[N, D]`.
class module_encoder {
 public:
  /// `shape` is that of one sample, `{3, 224, 224}` for pictures; empty: a row as it is.
  explicit module_encoder(::torch::jit::Module module, std::vector<std::int64_t> shape = {})
      : module_(std::move(module)), shape_(std::move(shape)) {
    module_.eval();
    for (auto parameter : module_.parameters()) parameter.set_requires_grad(false);
  }
  /// \throws error negood.torch.2 (category artifact) where the file is no TorchScript module
  static module_encoder load(const std::filesystem::path& file, std::vector<std::int64_t> shape = {},
                             const std::string& device = "cpu") {
    try {
      return module_encoder(::torch::jit::load(file.string(), at::Device(device)), std::move(shape));
    } catch (const c10::Error& e) {
      fail(error_category::artifact, "negood.torch.2", file.string(), e.what_without_backtrace(),
           "save the module with torch.jit.script or torch.jit.trace");
    }
  }

  /// Unit features of N rows: `[N, values]` -> `[N, D]`.
  template <class Real>
  tensor<Real> operator()(context<Real>& ctx, const tensor<Real>& input) const {
    const at::NoGradGuard guard;
    return normalise_rows(ctx, tensor<Real>::adopt(forward(input.torch()))).unit;
  }

  /// Unit features and the way back to the input; only the input gets a gradient.
  template <class Real>
  struct linearised {
    tensor<Real> value;  ///< `[N, D]`, unit rows
    /// d value `[N, D]` -> d input `[N, values]`; may be called once.
    tensor<Real> pullback(context<Real>& ctx, const tensor<Real>& d_value) const {
      const auto d_raw = normalise_rows.pullback(ctx, normalised, d_value);
      const auto gradient = ::torch::autograd::grad({output}, {input}, {d_raw.torch()});
      return tensor<Real>::adopt(gradient.front());
    }
    normalised_rows<context<Real>> normalised;
    at::Tensor input, output;
  };
  template <class Real>
  linearised<Real> linearize(context<Real>& ctx, const tensor<Real>& input) const {
    const at::AutoGradMode recording(true);
    at::Tensor leaf = input.torch().detach().clone().set_requires_grad(true);
    at::Tensor output = forward(leaf);
    auto normalised = normalise_rows(ctx, tensor<Real>::adopt(output));
    auto value = ctx.clone(normalised.unit);
    return {std::move(value), std::move(normalised), std::move(leaf), std::move(output)};
  }

 private:
  /// \throws error negood.torch.3 where the module gives no `[N, D]`
  at::Tensor forward(const at::Tensor& rows) const {
    at::Tensor shaped = rows;
    if (!shape_.empty()) {
      std::vector<std::int64_t> sizes{rows.size(0)};
      sizes.insert(sizes.end(), shape_.begin(), shape_.end());
      shaped = rows.reshape(sizes);
    }
    ::torch::jit::Module module = module_;  // a handle: forward is not const
    const auto out = module.forward({shaped});
    if (!out.isTensor() || out.toTensor().dim() != 2 || out.toTensor().size(0) != rows.size(0))
      fail(error_category::artifact, "negood.torch.3", "module_encoder", "forward gave no [N, D] tensor",
           "the module must take one tensor [N, ...] and give one feature a row");
    return out.toTensor();
  }

  ::torch::jit::Module module_;
  std::vector<std::int64_t> shape_;
};

}  // namespace negood::libtorch
