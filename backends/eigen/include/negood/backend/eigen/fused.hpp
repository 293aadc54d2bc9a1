/// \file fused.hpp  The algorithms this backend computes in one pass.
#pragma once

#include <negood/backend/concepts.hpp>

namespace negood::eigen {

template <class Real>
class context;

using fused_algorithms = override_list<>;

template <class Real>
struct fusion {
  context<Real>& ctx;
};

}  // namespace negood::eigen
