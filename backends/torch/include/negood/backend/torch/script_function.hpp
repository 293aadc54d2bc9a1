/// \file script_function.hpp  A TorchScript module as a function of tensors, for module_encoder and text_module.
///
/// Not included by torch.hpp: <torch/script.h> is a heavy header.
#pragma once

#include <negood/error.hpp>

#include <torch/script.h>

#include <concepts>
#include <filesystem>
#include <string>
#include <utility>

namespace negood::libtorch {

/// `forward` of a module in evaluation mode. Its parameters get no gradient.
class script_function {
 public:
  explicit script_function(::torch::jit::Module module) : module_(std::move(module)) {
    module_.eval();
    for (auto parameter : module_.parameters()) parameter.set_requires_grad(false);
  }
  /// \throws error negood.torch.2 (category artifact) where the file is no TorchScript module
  static script_function load(const std::filesystem::path& file, const std::string& device = "cpu") {
    try {
      return script_function(::torch::jit::load(file.string(), at::Device(device)));
    } catch (const c10::Error& e) {
      fail(error_category::artifact, "negood.torch.2", file.string(), e.what_without_backtrace(),
           "save the module with torch.jit.script or torch.jit.trace");
    }
  }

  /// \throws error negood.torch.3 where the module gives no tensor
  template <std::same_as<at::Tensor>... Tensors>
  at::Tensor operator()(const Tensors&... arguments) const {
    ::torch::jit::Module module = module_;  // a handle: forward is not const
    const auto out = module.forward({arguments...});
    if (!out.isTensor())
      fail(error_category::artifact, "negood.torch.3", "script_function", "forward gave no tensor",
           "the module must give one tensor");
    return out.toTensor();
  }

 private:
  ::torch::jit::Module module_;
};

}  // namespace negood::libtorch
