/// \file torch.hpp  The backend over LibTorch, 1.13 and 2.x: `negood::libtorch::context<Real>`.
///
/// The namespace is libtorch, not torch, so that `using namespace negood` leaves `torch::` what it was. g++ only: clang
/// 14 and nvcc do not compile LibTorch 1.13 as C++20.
#pragma once

#include <negood/backend/torch/context.hpp>

namespace negood {
static_assert(check_backend<libtorch::context<float>>());
static_assert(check_backend<libtorch::context<double>>());
}  // namespace negood
