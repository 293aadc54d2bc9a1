/// \file task_size.hpp  How much one task does where nobody says it.
#pragma once

#include <negood/backend/concepts.hpp>

#include <cstddef>
#include <optional>

namespace negood {

/// A backend with thousands of threads says so by `index_per_element` (kernels/primitives.hpp).
template <Backend B>
inline constexpr bool on_device = [] {
  if constexpr (requires { B::index_per_element; })
    return bool{B::index_per_element};
  else
    return false;
}();

/// Rows of a task, 0 for what suits the backend: few, so that processors have many tasks and their caches hold one;
/// many for a device, whose operations use all of it.
template <Backend B>
constexpr index_type rows_of_task(index_type wanted) {
  return wanted > 0 ? wanted : on_device<B> ? index_type{1} << 14 : index_type{256};
}

/// Bytes of activations that are kept between value and pullback.
template <Backend B>
constexpr std::size_t kept_bytes(std::optional<std::size_t> wanted) {
  return wanted.value_or(on_device<B> ? std::size_t{4} << 30 : std::size_t{768} << 20);
}

}  // namespace negood
