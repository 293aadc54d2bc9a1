/// \file adaneg_memory.hpp  What one label of AdaNeg remembers, and the proxy made of it.
#pragma once

#include <negood/math/fixed_order_dot.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

namespace negood {

enum class proxy_kind {
  task_adaptive,   ///< q = normalise(text + sum of images)
  sample_adaptive  ///< q(h) = normalise(w_0 text + sum_t w_t image_t), w = exp(-beta (1 - <., h>))
};

/// The images x_1 ... x_n a label has, each with the entropy it came with. A state never changes: `with` makes the
/// next.
///
/// Neither the text nor the proxy is kept: of q only <q, h> is wanted,
///
///     sample-adaptive:  ( w_0 <e, h> + sum_t w_t <x_t, h> ) / sqrt( w_0^2 + 2 w_0 sum_t w_t <e, x_t> + sum_tu w_t w_u
///     <x_t, x_u> ) task-adaptive:    the same with all w = 1, through y = sum_t x_t
///
/// and <e, x_t>, <x_t, x_u> are known since x_t came. This is exact, and costs n products of width D instead of the
/// released program's [N, labels, slots, D] tensor.
class adaneg_label {
 public:
  index_type size() const noexcept { return static_cast<index_type>(entropies_.size()); }
  const std::vector<double>& entropies() const noexcept { return entropies_; }
  const std::vector<std::uint64_t>& sequences() const noexcept { return sequences_; }
  std::span<const float> image(index_type t) const noexcept {
    return std::span(features_).subspan(static_cast<std::size_t>(t) * width_, width_);
  }
  std::size_t bytes() const noexcept {
    return features_.size() * sizeof(float) + (sum_.size() + gram_.size() + 2 * entropies_.size()) * sizeof(double) +
           sequences_.size() * sizeof(std::uint64_t);
  }

  /// `before` (null: no image yet) and the image h: in a free slot, or in the place of the image of largest entropy,
  /// the last of equals, if that is larger than `entropy`. Null where h is not taken. `text_cosine` is <e, h>.
  template <class Real>
  static std::shared_ptr<const adaneg_label> with(const adaneg_label* before, index_type slots, proxy_kind kind,
                                                  std::span<const Real> h, double entropy, double text_cosine,
                                                  std::uint64_t sequence) {
    std::size_t t = before ? before->entropies_.size() : 0;
    if (static_cast<index_type>(t) == slots) {
      const auto& all = before->entropies_;
      for (std::size_t u = t = 0; u < all.size(); ++u) t = all[u] >= all[t] ? u : t;
      if (!(entropy < all[t])) return nullptr;
    }
    auto out = before ? std::make_shared<adaneg_label>(*before) : std::make_shared<adaneg_label>();
    out->width_ = h.size();
    if (t == out->entropies_.size()) out->make_room();
    std::ranges::transform(h, out->features_.begin() + static_cast<std::ptrdiff_t>(t * h.size()),
                           [](Real v) { return static_cast<float>(v); });
    out->entropies_[t] = entropy;
    out->text_cosines_[t] = text_cosine;
    out->sequences_[t] = sequence;
    if (kind == proxy_kind::sample_adaptive)
      out->make_gram();
    else
      out->make_sum();
    return out;
  }

  /// <q, h>, from <e, h>.
  template <class Real>
  double cosine(std::span<const Real> h, double text_cosine, double beta) const {
    double along, square;
    if (gram_.empty()) {
      along = text_cosine + fixed_order_dot(h, std::span<const double>(sum_));
      square = 1 + sum_square_;
      for (const double c : text_cosines_) square += 2 * c;
    } else {
      const std::size_t n = entropies_.size();
      std::vector<double> c(n + 1, text_cosine), w(n + 1);
      for (std::size_t t = 0; t < n; ++t) c[t + 1] = fixed_order_dot(h, image(static_cast<index_type>(t)));
      const double nearest = *std::ranges::max_element(c);  // a common factor of all w changes nothing
      for (std::size_t t = 0; t <= n; ++t) w[t] = std::exp(beta * (c[t] - nearest));
      along = w[0] * c[0];
      square = w[0] * w[0];
      for (std::size_t t = 0; t < n; ++t) {
        along += w[t + 1] * c[t + 1];
        square += 2 * w[0] * w[t + 1] * text_cosines_[t];
        for (std::size_t u = 0; u < n; ++u) square += w[t + 1] * w[u + 1] * gram_[t * n + u];
      }
    }
    return square > 1e-24 ? std::clamp(along / std::sqrt(square), -1.0, 1.0) : text_cosine;
  }

 private:
  /// One slot more and not a byte beyond it.
  void make_room() {
    const auto grow = [](auto& v, std::size_t by) {
      v.reserve(v.size() + by);
      v.resize(v.size() + by);
    };
    grow(features_, width_);
    grow(entropies_, 1);
    grow(text_cosines_, 1);
    grow(sequences_, 1);
  }
  void make_gram() {
    const std::size_t n = entropies_.size();
    gram_.resize(n * n);
    for (std::size_t t = 0; t < n; ++t)
      for (std::size_t u = 0; u < n; ++u)
        gram_[t * n + u] = fixed_order_dot(image(static_cast<index_type>(t)), image(static_cast<index_type>(u)));
  }
  /// Made anew from the images: differences would leave their rounding behind.
  void make_sum() {
    sum_.assign(width_, 0);
    for (index_type t = 0; t < size(); ++t)
      for (std::size_t d = 0; d < width_; ++d) sum_[d] += static_cast<double>(image(t)[d]);
    sum_square_ = fixed_order_dot(std::span<const double>(sum_), std::span<const double>(sum_));
  }

  std::size_t width_ = 0;
  std::vector<float> features_;  // [n, D]
  std::vector<double> entropies_, text_cosines_;
  std::vector<std::uint64_t> sequences_;
  std::vector<double> gram_;  // [n, n]; sample-adaptive
  std::vector<double> sum_;   // [D]; task-adaptive
  double sum_square_ = 0;
};

}  // namespace negood
