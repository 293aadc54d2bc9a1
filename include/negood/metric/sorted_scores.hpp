/// \file sorted_scores.hpp  Scores as sorted integer keys: the one sort behind every metric.
#pragma once

#include <negood/error.hpp>

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace negood {

/// What to do with scores that are not finite. NaN is always refused: whoever reads the scores decides what it means.
struct score_options {
  bool allow_infinite = false;  ///< rank +-Inf like any other number, for a caller whose policy made them
};

namespace detail {

template <class Real>
using key_type = std::conditional_t<sizeof(Real) == 4, std::uint32_t, std::uint64_t>;

/// An unsigned integer in the order of the floating-point number; -0.0 and +0.0 share one key. All ones is never used.
template <class Real>
constexpr key_type<Real> to_key(Real value) noexcept {
  using key = key_type<Real>;
  constexpr key sign = key{1} << (8 * sizeof(Real) - 1);
  const key bits = std::bit_cast<key>(static_cast<Real>(value + Real(0)));  // -0.0 + 0.0 is +0.0
  return bits ^ ((bits & sign) != 0 ? ~key{0} : sign);
}

template <class Real>
constexpr Real from_key(key_type<Real> key_value) noexcept {
  using key = key_type<Real>;
  constexpr key sign = key{1} << (8 * sizeof(Real) - 1);
  return std::bit_cast<Real>(static_cast<key>(key_value ^ ((key_value & sign) != 0 ? sign : ~key{0})));
}

/// Sorts `keys[0..n)`, all in [lowest, highest], by least significant digits; the result lies in the buffer returned,
/// which is `keys` or `scratch`. Only the bits of `key - lowest` are sorted, in passes of equal width: scores of one
/// detector share most of their exponent, so a pass or more falls away and the counters spread evenly.
template <int Passes, class Count, class Key>
Key* radix_passes(Key* keys, Key* scratch, std::size_t n, Key lowest, int width) {
  const std::size_t buckets = std::size_t{1} << width;
  const Key mask = static_cast<Key>(buckets - 1);
  std::vector<Count> counts(static_cast<std::size_t>(Passes) * buckets, 0);
  for (std::size_t i = 0; i < n; ++i) {
    const Key k = static_cast<Key>(keys[i] - lowest);
    for (int p = 0; p < Passes; ++p) ++counts[static_cast<std::size_t>(p) * buckets + (k >> p * width & mask)];
  }
  for (int p = 0; p < Passes; ++p) {
    Count* const offset = counts.data() + static_cast<std::size_t>(p) * buckets;
    const int shift = p * width;
    if (offset[static_cast<Key>(keys[0] - lowest) >> shift & mask] == n) continue;  // one digit value: nothing to move
    Count sum = 0;
    for (std::size_t b = 0; b < buckets; ++b) sum += std::exchange(offset[b], sum);
    for (std::size_t i = 0; i < n; ++i) scratch[offset[static_cast<Key>(keys[i] - lowest) >> shift & mask]++] = keys[i];
    std::swap(keys, scratch);
  }
  return keys;
}

template <class Count, class Key>
Key* radix_sort(Key* keys, Key* scratch, std::size_t n, Key lowest, Key highest) {
  const int bits = static_cast<int>(std::bit_width(static_cast<Key>(highest - lowest)));
  if (bits == 0) return keys;
  constexpr int widest = 11;  // counters of a pass stay in the nearest cache
  const int passes = (bits + widest - 1) / widest;
  const int width = (bits + passes - 1) / passes;
  switch (passes) {  // a known number of passes lets the counting loop be unrolled
    case 1:
      return radix_passes<1, Count>(keys, scratch, n, lowest, width);
    case 2:
      return radix_passes<2, Count>(keys, scratch, n, lowest, width);
    case 3:
      return radix_passes<3, Count>(keys, scratch, n, lowest, width);
    case 4:
      return radix_passes<4, Count>(keys, scratch, n, lowest, width);
    case 5:
      return radix_passes<5, Count>(keys, scratch, n, lowest, width);
    default:
      return radix_passes<6, Count>(keys, scratch, n, lowest, width);
  }
}

template <class Key>
Key* sort_keys(Key* keys, Key* scratch, std::size_t n, Key lowest, Key highest) {
  if (n < 256) {
    std::sort(keys, keys + n);
    return keys;
  }
  return n <= std::numeric_limits<std::uint32_t>::max() ? radix_sort<std::uint32_t>(keys, scratch, n, lowest, highest)
                                                        : radix_sort<std::uint64_t>(keys, scratch, n, lowest, highest);
}

}  // namespace detail

/// The scores of one set, sorted once and reusable: an ID set is sorted once for all the OOD sets it is compared with.
/// Memory: one key of the score's own size each. Throws negood.metric.1 on NaN, negood.metric.2 on Inf.
template <class Real>
class sorted_scores {
 public:
  using key = detail::key_type<Real>;
  static constexpr key end_key = static_cast<key>(~key{0});

  explicit sorted_scores(std::span<const Real> scores, std::string_view name = "scores", score_options options = {})
      : size_(static_cast<index_type>(scores.size())) {
    const std::size_t n = scores.size();
    // One more place for the end key; nothing is read before it is written.
    keys_ = std::make_unique_for_overwrite<key[]>(n + 1);
    key lowest = end_key, highest = 0;
    for (std::size_t i = 0; i < n; ++i) {
      const key k = detail::to_key(scores[i]);
      lowest = std::min(lowest, k);
      highest = std::max(highest, k);
      keys_[i] = k;
    }
    constexpr key infinity = detail::to_key(std::numeric_limits<Real>::infinity());
    constexpr key minus_infinity = detail::to_key(-std::numeric_limits<Real>::infinity());
    if (n > 0 && (highest >= infinity || lowest <= minus_infinity)) check(scores, name, options);
    auto scratch = std::make_unique_for_overwrite<key[]>(n + 1);
    if (detail::sort_keys(keys_.get(), scratch.get(), n, lowest, highest) != keys_.get()) keys_.swap(scratch);
    keys_[n] = end_key;
  }

  /// Takes n ascending keys of scores that are finite, or infinite and allowed, with one more place behind them: for
  /// scores that were sorted elsewhere.
  sorted_scores(std::unique_ptr<key[]> ascending, index_type n) : size_(n), keys_(std::move(ascending)) {
    keys_[static_cast<std::size_t>(n)] = end_key;
  }

  index_type size() const noexcept { return size_; }
  bool empty() const noexcept { return size_ == 0; }
  /// The i-th smallest score.
  Real operator[](index_type i) const noexcept { return detail::from_key<Real>(keys_[static_cast<std::size_t>(i)]); }
  /// Ascending keys, followed by one `end_key` that is larger than any.
  const key* keys() const noexcept { return keys_.get(); }

 private:
  static void check(std::span<const Real> scores, std::string_view name, score_options options) {
    for (std::size_t i = 0; i < scores.size(); ++i) {
      const bool nan = std::isnan(scores[i]);
      if (!nan && (options.allow_infinite || !std::isinf(scores[i]))) continue;
      fail(error_category::data, nan ? "negood.metric.1" : "negood.metric.2", "metrics",
           std::string(name) + " holds " + (nan ? "NaN" : "an infinite score") + " in row " + std::to_string(i),
           nan ? "drop such rows or map them to a score first" : "allow infinite scores where a policy made them");
    }
  }

  index_type size_ = 0;
  std::unique_ptr<key[]> keys_;
};

}  // namespace negood
