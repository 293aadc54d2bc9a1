/// \file elements.hpp  The closed set of element functions as ATen operations, for devices.
#pragma once

#include <negood/backend/element.hpp>
#include <negood/config.hpp>

#include <ATen/ATen.h>

#include <cmath>

namespace negood::libtorch {

// Two arguments; the second may be a row or a column. ATen's maximum is NaN where either argument is.
inline at::Tensor apply(element::add, const at::Tensor& a, const at::Tensor& b) { return at::add(a, b); }
inline at::Tensor apply(element::subtract, const at::Tensor& a, const at::Tensor& b) { return at::sub(a, b); }
inline at::Tensor apply(element::multiply, const at::Tensor& a, const at::Tensor& b) { return at::mul(a, b); }
inline at::Tensor apply(element::divide, const at::Tensor& a, const at::Tensor& b) { return at::div(a, b); }
inline at::Tensor apply(element::maximum, const at::Tensor& a, const at::Tensor& b) { return at::maximum(a, b); }
inline at::Tensor apply(element::add_scaled f, const at::Tensor& a, const at::Tensor& b) {
  return at::add(a, b, f.factor);
}

// One argument.
inline at::Tensor apply(element::scale f, const at::Tensor& a) { return at::mul(a, f.factor); }
inline at::Tensor apply(element::shift f, const at::Tensor& a) { return at::add(a, f.offset); }
inline at::Tensor apply(element::exp, const at::Tensor& a) { return at::exp(a); }
inline at::Tensor apply(element::log, const at::Tensor& a) { return at::log(a); }
inline at::Tensor apply(element::sqrt, const at::Tensor& a) { return at::sqrt(a); }
inline at::Tensor apply(element::square, const at::Tensor& a) { return at::mul(a, a); }
inline at::Tensor apply(element::reciprocal, const at::Tensor& a) { return at::reciprocal(a); }
inline at::Tensor apply(element::sigmoid, const at::Tensor& a) { return at::sigmoid(a); }
/// Not at::softplus, which is linear from 20 on.
inline at::Tensor apply(element::softplus, const at::Tensor& a) {
  return at::add(at::relu(a), at::log1p(at::exp(at::neg(at::abs(a)))));
}
inline at::Tensor apply(element::gelu, const at::Tensor& x) { return at::gelu(x); }
inline at::Tensor apply(element::gelu_derivative, const at::Tensor& x) {
  const at::Tensor distribution = at::mul(at::add(at::erf(at::mul(x, 0.70710678118654752440)), 1.0), 0.5);
  const at::Tensor density = at::mul(at::exp(at::mul(at::mul(x, x), -0.5)), 0.39894228040143267794);
  return at::addcmul(distribution, x, density);
}
inline at::Tensor apply(element::quick_gelu, const at::Tensor& x) { return at::mul(x, at::sigmoid(at::mul(x, 1.702))); }
inline at::Tensor apply(element::quick_gelu_derivative, const at::Tensor& x) {
  const at::Tensor r = at::sigmoid(at::mul(x, 1.702));
  return at::mul(r, at::add(at::mul(at::mul(x, at::rsub(r, 1.0)), 1.702), 1.0));
}

/// Reductions that keep their dimension; those over nothing give the identity.
inline at::Tensor reduce(reduction::sum, const at::Tensor& a, index_type dim) { return at::sum(a, {dim}, true); }
inline at::Tensor reduce(reduction::maximum, const at::Tensor& a, index_type dim) {
  if (a.size(dim) > 0) return at::amax(a, {dim}, true);
  return at::full(dim == 0 ? at::IntArrayRef({1, a.size(1)}) : at::IntArrayRef({a.size(0), 1}), -INFINITY, a.options());
}

}  // namespace negood::libtorch
