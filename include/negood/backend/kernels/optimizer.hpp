/// \file optimizer.hpp  One update of one weight by SGD or AdamW; see negood/train/optimizer.hpp for the equations.
#pragma once

#include <negood/backend/element.hpp>
#include <negood/config.hpp>

namespace negood::kernel {

/// v = mu v + (g + wd w),  w -= lr v
template <class T>
struct sgd_step {
  T rate, momentum, weight_decay;
  const T* g;
  T *w, *v;
  NEGOOD_HD void operator()(index_type i) const {
    v[i] = (g[i] + weight_decay * w[i]) + momentum * v[i];
    w[i] = w[i] - rate * v[i];
  }
};

/// m = b1 m + (1 - b1) g,  r = b2 r + (1 - b2) g^2,  w = decay w - lr (m c1) / (sqrt(r c2) + eps)
/// with decay = 1 - lr wd, c = 1 / (1 - b^t).
template <class T>
struct adamw_step {
  T rate, decay, beta1, rest1, beta2, rest2, correction1, correction2, epsilon;
  const T* g;
  T *w, *m, *r;
  NEGOOD_HD void operator()(index_type i) const {
    m[i] = beta1 * m[i] + rest1 * g[i];
    r[i] = beta2 * r[i] + rest2 * (g[i] * g[i]);
    w[i] = decay * w[i] - rate * ((correction1 * m[i]) / (std::sqrt(correction2 * r[i]) + epsilon));
  }
};

}  // namespace negood::kernel
