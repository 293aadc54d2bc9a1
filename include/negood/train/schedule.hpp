/// \file schedule.hpp  Learning rates over a run.
#pragma once

#include <negood/error.hpp>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <string_view>

namespace negood {

enum class schedule_kind {
  cosine,    ///< CoOp's: 1e-5 in the first epoch, then half a cosine by epoch
  constant,  ///< the base rate throughout
  released   ///< NegPrompt's code: a cosine of period 100 stepped at every batch and once more at every epoch
};

/// Where a step stands in its run.
struct training_position {
  index_type epoch = 0;   ///< counted from 0
  index_type epochs = 1;  ///< in all
  index_type step = 0;    ///< counted over the whole run, from 0
};

/// The rate at a step.
///
///     cosine:    epoch 0: 1e-5;  epoch e >= 1: base/2 (1 + cos(pi (e - 1) / E))   (the warm-up is not subtracted from
///     E) released:  base/2 (1 + cos(pi t / 50)),  t = step + epoch
inline double learning_rate(schedule_kind kind, double base, const training_position& at) {
  constexpr double pi = std::numbers::pi;
  switch (kind) {
    case schedule_kind::constant:
      return base;
    case schedule_kind::released:
      return 0.5 * base * (1 + std::cos(pi * static_cast<double>(at.step + at.epoch) / 50.0));
    case schedule_kind::cosine:
      break;
  }
  if (at.epoch == 0) return std::min(1e-5, base);
  return 0.5 * base * (1 + std::cos(pi * static_cast<double>(at.epoch - 1) / static_cast<double>(at.epochs)));
}

}  // namespace negood
