/// \file list_example.hpp  The backend of examples/06_write_a_backend.cpp.
#pragma once

#define NEGOOD_EXAMPLE_WITHOUT_MAIN
#include "../../examples/06_write_a_backend.cpp"

#include <tuple>

#include "tolerance.hpp"

namespace conformance {

struct example_float {
  using context = example::context<float>;
  static constexpr const char* name = "example<float>";
  static constexpr tolerance allowed = tolerance_of<float>;
  static context make(index_type threads = 1) { return context(threads); }
};

using every_backend = std::tuple<example_float>;
using invariant_backends = every_backend;
using algorithm_backends = every_backend;

}  // namespace conformance
