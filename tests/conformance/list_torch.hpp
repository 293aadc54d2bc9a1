/// \file list_torch.hpp  The LibTorch backend on the processor: with negood's kernels, and all in ATen's operations as
/// on a device.
#pragma once

#include <negood/backend/torch.hpp>

#include <cstdlib>
#include <tuple>

#include "tolerance.hpp"

namespace conformance {

template <class Real, bool Kernels>
struct torch_backend {
  using context = libtorch::context<Real>;
  static constexpr tolerance allowed = tolerance_of<Real>;
  static context make(index_type threads = 1) {
    const char* device = Kernels ? nullptr : std::getenv("NEGOOD_TORCH_DEVICE");
    return context(libtorch::options{.device = device ? device : "cpu", .threads = threads, .kernels = Kernels});
  }
};
struct torch_float : torch_backend<float, true> {
  static constexpr const char* name = "torch<float> cpu";
};
struct torch_double : torch_backend<double, true> {
  static constexpr const char* name = "torch<double> cpu";
};
struct torch_aten_float : torch_backend<float, false> {
  static constexpr const char* name = "torch<float> ATen";
};
struct torch_aten_double : torch_backend<double, false> {
  static constexpr const char* name = "torch<double> ATen";
};

using every_backend = std::tuple<torch_float, torch_double, torch_aten_float, torch_aten_double>;
/// ATen's own operations choose kernels by shape.
using invariant_backends = std::tuple<torch_float, torch_double>;
using algorithm_backends = std::tuple<torch_float, torch_aten_float>;

}  // namespace conformance
