/// \file tolerance.hpp  What error a backend may make.
#pragma once

#include <negood/backend/precision.hpp>

namespace conformance {

using namespace negood;

/// Errors are absolute, on operands of size 1 whose products are of size 1.
struct tolerance {
  double element;  ///< maps, reductions of a few values
  double product;  ///< matrix products and what is made of them
};

/// Of a backend that computes everything in this real type.
template <class Real>
inline constexpr tolerance tolerance_of = sizeof(Real) == 8 ? tolerance{1e-14, 1e-13} : tolerance{2e-6, 1e-5};

}  // namespace conformance
