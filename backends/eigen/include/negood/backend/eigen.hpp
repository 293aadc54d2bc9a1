/// \file eigen.hpp  The backend for processors: `negood::eigen::context<Real>`.
#pragma once

#include <negood/backend/eigen/context.hpp>

namespace negood {
static_assert(check_backend<eigen::context<float>>());
static_assert(check_backend<eigen::context<double>>());
}  // namespace negood
