/// \file order.hpp  The order of floating-point numbers as integers, for sorting and for the largest entries of a row.
#pragma once

#include <negood/backend/kernels/team.hpp>

#include <cstdint>
#include <cstring>
#include <limits>
#include <type_traits>

namespace negood::kernel {

template <class T>
using key_of = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint64_t>;

/// An unsigned integer in the order of the number; both zeros share one. A NaN of positive sign lies above infinity,
/// one of negative sign below its opposite. The keys of `sorted_scores`, for devices too.
template <class T>
NEGOOD_HD inline key_of<T> ordered_key(T value) {
  using key = key_of<T>;
  constexpr key sign = key{1} << (8 * sizeof(T) - 1);
  const T number = value + T(0);  // -0.0 + 0.0 is +0.0
  key bits;
  std::memcpy(&bits, &number, sizeof(bits));
  return bits ^ ((bits & sign) != 0 ? static_cast<key>(~key{0}) : sign);
}

template <class T>
struct make_key {
  const T* values;
  key_of<T>* keys;
  NEGOOD_HD void operator()(index_type i) const { keys[i] = ordered_key(values[i]); }
};

/// The k largest of row r, largest first, equal values by index; a NaN counts as smaller than every number: what
/// `host::top_of_row` gives. One pass over the row for each of them, so for small k.
template <class T>
struct top_of_row {
  const T* a;
  index_type cols, k;
  T* values;
  index_type* indices;

  static constexpr index_type none = std::numeric_limits<index_type>::max();
  NEGOOD_HD static key_of<T> key(T value) { return value == value ? ordered_key(value) : 0; }

  template <class Team>
  NEGOOD_HD void operator()(const Team& team, index_type r) const {
    const T* row = a + r * cols;
    key_of<T> last_key = 0;
    index_type last = -1;
    for (index_type j = 0; j < k; ++j) {
      key_of<T> best = 0;
      index_type where = none;
      for (index_type i = team.lane(); i < cols; i += team.lanes()) {
        const auto here = key(row[i]);
        if (j > 0 && !(here < last_key || (here == last_key && i > last))) continue;  // taken before
        if (where == none || best < here) {
          best = here;
          where = i;
        }
      }
      const auto largest = team.fold(reduction::maximum{}, best);
      where = -team.fold(reduction::maximum{}, best == largest ? -where : -none);
      if (team.lane() == 0) {
        indices[r * k + j] = where;
        values[r * k + j] = row[where];
      }
      last_key = largest;
      last = where;
    }
  }
};

}  // namespace negood::kernel
