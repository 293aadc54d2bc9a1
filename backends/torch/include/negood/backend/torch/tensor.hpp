/// \file tensor.hpp  The matrix of the LibTorch backend: an `at::Tensor` that cannot be aliased by accident.
#pragma once

#include <negood/backend/host_support.hpp>

#include <ATen/ATen.h>

#include <span>
#include <string>
#include <type_traits>
#include <utility>

namespace negood::libtorch {

template <class Real>
inline constexpr at::ScalarType scalar_type = std::is_same_v<Real, double> ? at::kDouble : at::kFloat;

/// A row-major `[rows, cols]` matrix in the memory of an `at::Tensor`. It moves; `ctx.clone(t)` copies, while assigning
/// an `at::Tensor` would make two names of one memory.
template <class Real>
class tensor {
 public:
  using value_type = Real;

  tensor() = default;
  tensor(tensor&&) noexcept = default;
  tensor& operator=(tensor&&) noexcept = default;

  /// Takes a program's tensor as it is, without a copy where it is contiguous, of type `Real`, and detached; rank 1 as
  /// `[n, 1]`. Writing to either is seen by the other. \throws error negood.torch.1 for another rank or type
  static tensor adopt(at::Tensor t) {
    if (t.scalar_type() != scalar_type<Real> || (t.dim() != 1 && t.dim() != 2))
      fail(error_category::data, "negood.torch.1", "tensor",
           "a " + std::to_string(t.dim()) + "-dimensional tensor of type " + at::toString(t.scalar_type()),
           "a matrix has rank 2, a vector rank 1, of type " + std::string(at::toString(scalar_type<Real>)));
    if (t.dim() == 1) t = t.unsqueeze(1);
    return tensor(t.detach().contiguous());
  }
  /// The same memory as an ATen tensor.
  const at::Tensor& torch() const noexcept { return values_; }

  index_type rows() const { return values_.defined() ? values_.size(0) : 0; }
  index_type cols() const { return values_.defined() ? values_.size(1) : 0; }
  Real* data() { return values_.defined() ? values_.template data_ptr<Real>() : nullptr; }
  const Real* data() const { return values_.defined() ? values_.template data_ptr<Real>() : nullptr; }

 private:
  explicit tensor(at::Tensor values) : values_(std::move(values)) {}
  at::Tensor values_;
};

/// Indices where ATen's operations on `device` want them. A copy from memory that is not pinned would wait for the
/// stream.
inline at::Tensor index_tensor(std::span<const index_type> indices, at::Device device) {
  at::Tensor here = at::tensor(at::ArrayRef<int64_t>(indices.data(), indices.size()), at::kLong);
  if (device.is_cuda()) here = here.pin_memory();
  return here.to(device, /*non_blocking=*/true);
}

}  // namespace negood::libtorch
