/// \file order_statistic.hpp  The k-th largest of many numbers, where k is small and the next row will be alike.
#pragma once

#include <negood/config.hpp>

#include <algorithm>
#include <cstdint>
#include <functional>
#include <limits>
#include <span>
#include <vector>

namespace negood::detail {

/// Positions of the largest entries of a row: at least k of them and, where few are equal, not many more.
///
/// A threshold t is looked for by counting entries >= t, which vectorises, beginning at the threshold that served the
/// row before: it decides how long this takes and nothing else.
template <class Real>
class largest_entries {
 public:
  /// Leaves in `positions()` every i with x[i] >= threshold(), at least `k` of them. No entry is NaN; 1 <= k <= size.
  void find(std::span<const Real> x, index_type k) {
    const index_type enough = k + 4, plenty = 2 * k + 32;
    Real low = -std::numeric_limits<Real>::infinity(), high = std::numeric_limits<Real>::infinity();
    Real t = threshold_, step = Real(0.015625);
    if (plenty < static_cast<index_type>(x.size())) {
      for (int pass = 0; pass < 64; ++pass) {
        const index_type n = count_from(x, t);
        if (n >= enough && n <= plenty) break;
        (n < enough ? high : low) = t;
        if (low == -std::numeric_limits<Real>::infinity())
          t -= step;
        else if (high == std::numeric_limits<Real>::infinity())
          t += step;
        else
          t = low + (high - low) / 2;
        step *= 2;
        if (t == low || t == high) break;  // many equal entries: as few too many as there can be
      }
      threshold_ = t;
      if (count_from(x, t) < k) t = low;
    } else {
      t = low;
    }
    collect(x, t);
  }
  /// Every i with x[i] >= t instead.
  void collect(std::span<const Real> x, Real t) {
    positions_.resize(x.size());
    std::size_t n = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {  // without a branch: which entries are large cannot be foretold
      positions_[n] = static_cast<std::uint32_t>(i);
      n += x[i] >= t ? 1 : 0;
    }
    found_ = n;
    collected_from_ = t;
  }

  Real threshold() const noexcept { return collected_from_; }
  std::span<const std::uint32_t> positions() const noexcept { return {positions_.data(), found_}; }

  /// The k-th largest entry of the row that `find` was given, for k at most that of `find`.
  Real value(std::span<const Real> x, index_type k) {
    values_.resize(found_);
    for (std::size_t i = 0; i < found_; ++i) values_[i] = x[positions_[i]];
    // Among so few counting is quicker than moving them about, unless the k-th has equals.
    Real low = collected_from_, high = *std::ranges::max_element(values_);
    for (int pass = 0; pass < 24 && k > 1 && low > -std::numeric_limits<Real>::infinity(); ++pass) {
      const Real t = low + (high - low) / 2;
      const index_type n = count_from(values_, t);
      if (n == k) {
        Real least = high;
        for (const Real v : values_) least = v >= t && v < least ? v : least;
        return least;
      }
      (n < k ? high : low) = t;
    }
    const auto at = values_.begin() + (k - 1);
    std::nth_element(values_.begin(), at, values_.end(), std::greater<>());
    return *at;
  }

 private:
  static index_type count_from(std::span<const Real> x, Real t) {
    std::int32_t n = 0;
    for (const Real v : x) n += v >= t ? 1 : 0;
    return n;
  }

  Real threshold_ = 0, collected_from_ = 0;
  std::size_t found_ = 0;
  std::vector<std::uint32_t> positions_;
  std::vector<Real> values_;
};

}  // namespace negood::detail
