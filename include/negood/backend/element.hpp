/// \file element.hpp  The closed set of element functions a backend must be able to map.
///
/// Algorithms never touch elements themselves: they pass one of these to `ctx.map`, `ctx.map_rows` or `ctx.map_cols`.
/// The set is closed so that a backend may replace any of them by a vector or device version, and test that it did.
#pragma once

#include <cmath>

#if defined(__CUDACC__)
#define NEGOOD_HD __host__ __device__
#else
#define NEGOOD_HD
#endif

namespace negood::element {

// Two arguments.
struct add {
  template <class T>
  NEGOOD_HD T operator()(T a, T b) const {
    return a + b;
  }
};
struct subtract {
  template <class T>
  NEGOOD_HD T operator()(T a, T b) const {
    return a - b;
  }
};
struct multiply {
  template <class T>
  NEGOOD_HD T operator()(T a, T b) const {
    return a * b;
  }
};
struct divide {
  template <class T>
  NEGOOD_HD T operator()(T a, T b) const {
    return a / b;
  }
};
struct maximum {
  template <class T>
  NEGOOD_HD T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};
/// a + factor * b
struct add_scaled {
  double factor;
  template <class T>
  NEGOOD_HD T operator()(T a, T b) const {
    return a + static_cast<T>(factor) * b;
  }
};

// One argument.
struct scale {
  double factor;
  template <class T>
  NEGOOD_HD T operator()(T a) const {
    return static_cast<T>(factor) * a;
  }
};
struct shift {
  double offset;
  template <class T>
  NEGOOD_HD T operator()(T a) const {
    return a + static_cast<T>(offset);
  }
};
struct exp {
  template <class T>
  NEGOOD_HD T operator()(T a) const {
    return std::exp(a);
  }
};
struct log {
  template <class T>
  NEGOOD_HD T operator()(T a) const {
    return std::log(a);
  }
};
struct sqrt {
  template <class T>
  NEGOOD_HD T operator()(T a) const {
    return std::sqrt(a);
  }
};
struct square {
  template <class T>
  NEGOOD_HD T operator()(T a) const {
    return a * a;
  }
};
struct reciprocal {
  template <class T>
  NEGOOD_HD T operator()(T a) const {
    return T(1) / a;
  }
};
/// 1/(1+exp(-a)), without overflow on either side.
struct sigmoid {
  template <class T>
  NEGOOD_HD T operator()(T a) const {
    if (a >= T(0)) return T(1) / (T(1) + std::exp(-a));
    const T e = std::exp(a);
    return e / (T(1) + e);
  }
};
/// log(1 + exp(a)), without overflow.
struct softplus {
  template <class T>
  NEGOOD_HD T operator()(T a) const {
    return a > T(0) ? a + std::log1p(std::exp(-a)) : std::log1p(std::exp(a));
  }
};
/// x * Phi(x), the exact GELU of OpenCLIP's weights.
struct gelu {
  template <class T>
  NEGOOD_HD T operator()(T x) const {
    return T(0.5) * x * (T(1) + std::erf(x * T(0.70710678118654752440)));
  }
};
/// d gelu / dx = Phi(x) + x phi(x)
struct gelu_derivative {
  template <class T>
  NEGOOD_HD T operator()(T x) const {
    return T(0.5) * (T(1) + std::erf(x * T(0.70710678118654752440))) +
           x * T(0.39894228040143267794) * std::exp(T(-0.5) * x * x);
  }
};
/// x * sigmoid(1.702 x), the activation of OpenAI's weights.
struct quick_gelu {
  template <class T>
  NEGOOD_HD T operator()(T x) const {
    return x * sigmoid{}(T(1.702) * x);
  }
};
/// d quick_gelu / dx = r (1 + 1.702 x (1 - r)),  r = sigmoid(1.702 x)
struct quick_gelu_derivative {
  template <class T>
  NEGOOD_HD T operator()(T x) const {
    const T r = sigmoid{}(T(1.702) * x);
    return r * (T(1) + T(1.702) * x * (T(1) - r));
  }
};

}  // namespace negood::element

namespace negood::reduction {

struct sum {
  template <class T>
  NEGOOD_HD static T identity() {
    return T(0);
  }
  template <class T>
  NEGOOD_HD T operator()(T a, T b) const {
    return a + b;
  }
};
struct maximum {
  template <class T>
  NEGOOD_HD static T identity() {
    return -static_cast<T>(INFINITY);
  }
  template <class T>
  NEGOOD_HD T operator()(T a, T b) const {
    return a < b ? b : a;
  }
};

}  // namespace negood::reduction
