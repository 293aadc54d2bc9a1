/// \file team.hpp  Lanes that compute one row together: one lane on a processor, a warp or a block on a device.
///
/// A team says `lane()` and `lanes()`, and `fold(f, x)` reduces one value of every lane by f and gives every lane the
/// result. All lanes of a team run the same kernel on the same row and meet in every `fold`; each writes only the
/// elements that `for_each` hands it, so that what a lane reads again it has written itself. Sums have one order for a
/// given number of lanes: bytes do not depend on when the lanes run.
#pragma once

#include <negood/backend/element.hpp>
#include <negood/config.hpp>

namespace negood::kernel {

/// Partial sums of one lane that is alone: enough for one vector register of floats, and a fixed order everywhere.
inline constexpr int partial_sums = 16;

struct one_lane {
  NEGOOD_HD static constexpr index_type lane() { return 0; }
  NEGOOD_HD static constexpr index_type lanes() { return 1; }
  template <class F, class T>
  NEGOOD_HD static T fold(F, T x) {
    return x;
  }
};

/// f(i) for the indices in [0, n) that are this lane's: always the same ones.
template <class F>
NEGOOD_HD inline void for_each(one_lane, index_type n, F f) {
  for (index_type i = 0; i < n; ++i) f(i);
}
template <class Team, class F>
NEGOOD_HD inline void for_each(const Team& team, index_type n, F f) {
  for (index_type i = team.lane(); i < n; i += team.lanes()) f(i);
}

/// The reduction of term(0), ..., term(n - 1) by f. A lane that is alone has 16 interleaved parts folded in halves:
/// compilers turn them into vector operations.
template <class T, class R, class F>
NEGOOD_HD inline T reduce(one_lane, R f, index_type n, F term) {
  T part[partial_sums];
  for (int j = 0; j < partial_sums; ++j) part[j] = R::template identity<T>();
  index_type i = 0;
  for (; i + partial_sums <= n; i += partial_sums)
    for (int j = 0; j < partial_sums; ++j) part[j] = f(part[j], term(i + j));
  for (int j = 0; i + j < n; ++j) part[j] = f(part[j], term(i + j));
  for (int half = partial_sums / 2; half > 0; half /= 2)
    for (int j = 0; j < half; ++j) part[j] = f(part[j], part[j + half]);
  return part[0];
}
template <class T, class R, class Team, class F>
NEGOOD_HD inline T reduce(const Team& team, R f, index_type n, F term) {
  T part = R::template identity<T>();
  for (index_type i = team.lane(); i < n; i += team.lanes()) part = f(part, term(i));
  return team.fold(f, part);
}

template <class T, class Team, class F>
NEGOOD_HD inline T sum_of(const Team& team, index_type n, F term) {
  return reduce<T>(team, reduction::sum{}, n, term);
}

/// The largest term; a NaN counts only where it is the first. n >= 1.
template <class T, class F>
NEGOOD_HD inline T largest_of(one_lane, index_type n, F term) {
  T m = term(0);
  for (index_type i = 1; i < n; ++i) m = m < term(i) ? term(i) : m;
  return m;
}
template <class T, class Team, class F>
NEGOOD_HD inline T largest_of(const Team& team, index_type n, F term) {
  T m = term(0);
  for (index_type i = team.lane(); i < n; i += team.lanes()) m = m < term(i) ? term(i) : m;
  return team.fold(reduction::maximum{}, m);
}

/// A row kernel, called as kernel(team, r), for backends whose index is a row.
template <class Kernel>
struct by_one_lane {
  Kernel kernel;
  NEGOOD_HD void operator()(index_type r) const { kernel(one_lane{}, r); }
};

/// kernel(team, r) for r in [0, n): `width` elements a row, about `work` multiplications. A backend with teams of its
/// own has a member `for_each_row(n, width, kernel)`.
template <class B, class Kernel>
void for_each_row(B& ctx, index_type n, index_type width, index_type work, const Kernel& kernel) {
  if (n == 0) return;
  if constexpr (requires { ctx.for_each_row(n, width, kernel); })
    ctx.for_each_row(n, width, kernel);
  else
    ctx.for_each_index(n, work, by_one_lane<Kernel>{kernel});
}

}  // namespace negood::kernel
