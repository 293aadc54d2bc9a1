/// \file fuzz.hpp  What the fuzz targets share: only negood's own errors may leave a reader, and properties must hold.
#pragma once

#include <negood/error.hpp>
#include <negood/io/bytes.hpp>

#include <cstdint>
#include <cstdlib>

namespace fuzz {

/// Runs `action`; a negood::error is an answer, anything else that is thrown ends the run as a finding.
template <class Action>
bool accepts(Action&& action) {
  try {
    action();
    return true;
  } catch (const negood::error& e) {
    if (e.category() == negood::error_category::internal || e.code().empty()) std::abort();
    return false;
  }
}

/// A property that every accepted input has.
inline void must(bool holds) {
  if (!holds) std::abort();
}

}  // namespace fuzz
