/// \file xtensor.hpp  The backend over xtensor's own arrays: `negood::xtensor::context<Real>`.
#pragma once

#include <negood/backend/xtensor/adapt.hpp>
#include <negood/backend/xtensor/context.hpp>

namespace negood {
static_assert(check_backend<xtensor::context<float>>());
static_assert(check_backend<xtensor::context<double>>());
}  // namespace negood
