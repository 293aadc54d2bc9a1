/// \file dlpack.hpp  Matrices in and out as DLPack tensors, the exchange format of array libraries, without a copy.
#pragma once

#include <negood/backend/torch/tensor.hpp>

#include <ATen/DLConvertor.h>

namespace negood::libtorch {

/// Takes over what a DLPack tensor owns. \throws error negood.torch.1 for another rank or type
template <class Real>
tensor<Real> from_dlpack(DLManagedTensor* managed) {
  return tensor<Real>::adopt(at::fromDLPack(managed));
}

/// The same memory as a DLPack tensor; whoever takes it calls its deleter.
template <class Real>
DLManagedTensor* to_dlpack(const tensor<Real>& t) {
  return at::toDLPack(t.torch());
}

}  // namespace negood::libtorch
