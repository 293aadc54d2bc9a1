/// \file canary_guard.hpp  Known images that a memory must go on calling known.
#pragma once

#include <negood/stream/negative_memory.hpp>

#include <array>
#include <limits>

namespace negood {

namespace detail {

/// log(exp(a) + exp(b)) of two doubles.
inline double log_add(double a, double b) {
  const double high = std::max(a, b), low = std::min(a, b);
  return low == -std::numeric_limits<double>::infinity() ? high : high + std::log1p(std::exp(low - high));
}
/// log sum exp(s x) over x, in the order of x; -infinity for none.
inline double log_sum_exp(std::span<const double> x, double s) {
  if (x.empty()) return -std::numeric_limits<double>::infinity();
  const double high = *std::ranges::max_element(x);
  double sum = 0;
  for (const double v : x) sum += std::exp(s * (v - high));
  return s * high + std::log(sum);
}
/// <a, b> in double: eight sums side by side, so that it is quick and the same everywhere.
template <class Real>
double wide_dot(std::span<const Real> a, std::span<const float> b) {
  std::array<double, 8> sum{};
  std::size_t d = 0;
  for (; d + 8 <= a.size(); d += 8)
    for (std::size_t k = 0; k < 8; ++k) sum[k] += double(a[d + k]) * double(b[d + k]);
  double out = ((sum[0] + sum[4]) + (sum[2] + sum[6])) + ((sum[1] + sum[5]) + (sum[3] + sum[7]));
  for (; d < a.size(); ++d) out += double(a[d]) * double(b[d]);
  return out;
}

}  // namespace detail

/// Watches Q known images while a memory learns. A canary is lost when z = A - log_add(B, E) is at or below a limit;
/// what the limit takes without any memory does not count.
///
/// Of every canary the log-sum-exp E over the memory is kept, so that a trial costs one exponential a canary; only a
/// row that leaves makes a sum anew. Bytes: 4 Q (K + D).
class canary_guard {
 public:
  canary_guard() = default;
  /// Unit `features` `[Q, D]`, with A and B of each; capacity K of the memory.
  canary_guard(host_matrix<float> features, std::vector<double> a, std::vector<double> b, index_type capacity,
               double scale, double limit)
      : features_(std::move(features)),
        a_(std::move(a)),
        b_(std::move(b)),
        capacity_(capacity),
        scale_(scale),
        limit_(limit),
        cosines_(static_cast<std::size_t>(features_.rows() * capacity)),
        sums_(static_cast<std::size_t>(features_.rows()), -std::numeric_limits<double>::infinity()) {
    lost_at_start_ = lost(sums_);
  }

  /// The canaries' cosines to a feature and their sums, were it to stand in row `row` of a memory of `size` rows.
  struct trial {
    std::vector<double> cosines, sums;
  };
  trial with(std::span<const float> v, index_type row, index_type size) const {
    trial out;
    for (index_type q = 0; q < features_.rows(); ++q) {
      out.cosines.push_back(detail::wide_dot<float>(features_.row(q), v));
      if (row == size) {
        out.sums.push_back(detail::log_add(sums_[static_cast<std::size_t>(q)], scale_ * out.cosines.back()));
      } else {
        const auto* kept = cosines_.data() + q * capacity_;
        std::vector<double> all(kept, kept + size);
        all[static_cast<std::size_t>(row)] = out.cosines.back();
        out.sums.push_back(detail::log_sum_exp(all, scale_));
      }
    }
    return out;
  }
  /// True if more than the given share of the canaries would be lost beyond those lost at the start.
  bool loses(const trial& t, double share) const {
    return static_cast<double>(lost(t.sums) - lost_at_start_) > share * static_cast<double>(features_.rows());
  }
  void commit(trial t, index_type row) {
    for (std::size_t q = 0; q < t.cosines.size(); ++q)
      cosines_[q * static_cast<std::size_t>(capacity_) + static_cast<std::size_t>(row)] =
          static_cast<float>(t.cosines[q]);
    sums_ = std::move(t.sums);
  }
  /// After rows have moved.
  void recount(const negative_memory& memory) {
    for (index_type q = 0; q < features_.rows(); ++q) {
      std::vector<double> all;
      for (index_type r = 0; r < memory.size(); ++r) {
        all.push_back(detail::wide_dot<float>(features_.row(q), memory.features().row(r)));
        cosines_[static_cast<std::size_t>(q * capacity_ + r)] = static_cast<float>(all.back());
      }
      sums_[static_cast<std::size_t>(q)] = detail::log_sum_exp(all, scale_);
    }
  }

 private:
  index_type lost(const std::vector<double>& sums) const {
    index_type n = 0;
    for (std::size_t q = 0; q < sums.size(); ++q) n += a_[q] - detail::log_add(b_[q], sums[q]) <= limit_ ? 1 : 0;
    return n;
  }

  host_matrix<float> features_;
  std::vector<double> a_, b_;
  index_type capacity_ = 0;
  double scale_ = 1, limit_ = 0;
  std::vector<float> cosines_;  // [Q, K]
  std::vector<double> sums_;    // [Q]
  index_type lost_at_start_ = 0;
};

}  // namespace negood
