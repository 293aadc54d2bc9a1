/// \file precision.hpp  How a backend computes its matrix products; everything else is in the real type of the context.
#pragma once

#include <negood/error.hpp>

#include <string_view>

namespace negood {

/// The arithmetic of matrix products. Relative error of one product of unit vectors of length 512:
enum class precision {
  f32,     ///< float multiply-add: 1e-7
  bf16x3,  ///< float operands split into two bfloat16 halves, three products, float sums: 4e-6; as good as f32 in use
  bf16,    ///< operands rounded to bfloat16, float sums: 5e-4. Opt-in: logits at scale 100 move by 0.05 and more
  f64      ///< double
};

/// "f32", "bf16x3", "bf16", "f64".
inline constexpr std::string_view format_precision(precision p) {
  switch (p) {
    case precision::f32:
      return "f32";
    case precision::bf16x3:
      return "bf16x3";
    case precision::bf16:
      return "bf16";
    case precision::f64:
      return "f64";
  }
  return "unknown";
}

/// The precision of that name; throws a usage error for any other.
inline precision parse_precision(std::string_view text) {
  for (const precision p : {precision::f32, precision::bf16x3, precision::bf16, precision::f64})
    if (text == format_precision(p)) return p;
  fail(error_category::usage, "negood.backend.1", "precision", "'" + std::string(text) + "' is not a precision",
       "choose f32, bf16x3, bf16 or f64");
}

}  // namespace negood
