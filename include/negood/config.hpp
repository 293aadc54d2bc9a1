/// \file config.hpp  What every header relies on: the version, and the compiler settings negood refuses.
#pragma once

#include <cstddef>
#include <cstdint>

#if defined(__FAST_MATH__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__)
#error \
    "negood must not be compiled with -ffast-math: scores are ranked, NaN is detected and sums have a fixed order (F-50)"
#endif

#define NEGOOD_VERSION_MAJOR 0
#define NEGOOD_VERSION_MINOR 1
#define NEGOOD_VERSION_PATCH 0
#define NEGOOD_VERSION_STRING "0.1.0"

namespace negood {

/// Rows, columns, labels and counts. Signed, 64 bits: N*D passes 2^31 on real data.
using index_type = std::int64_t;

}  // namespace negood
