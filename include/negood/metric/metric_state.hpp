/// \file metric_state.hpp  What a shard keeps of its scores: merged states give the same bytes as all scores at once.
#pragma once

#include <negood/metric/evaluate.hpp>

namespace negood {

/// One distinct score and how often each set has it.
struct score_count {
  double score = 0;
  index_type n_id = 0;
  index_type n_ood = 0;

  friend bool operator==(const score_count&, const score_count&) = default;
};

/// Distinct scores in ascending order with their counts. A float score is kept as the double of the same value, so
/// float and double shards mix. `add` costs a sort of what is added and a merge with what is there: hand over large
/// pieces.
class metric_state {
 public:
  metric_state() = default;

  /// A state read back from somewhere. Throws negood.metric.6 unless scores ascend strictly and counts are sound.
  explicit metric_state(std::vector<score_count> counts, score_options options = {}) : counts_(std::move(counts)) {
    constexpr index_type most = index_type{1} << 62;
    for (std::size_t i = 0; i < counts_.size(); ++i) {
      score_count& c = counts_[i];
      c.score += 0.0;  // one zero
      const bool ordered = std::isfinite(c.score) || (options.allow_infinite && std::isinf(c.score));
      if (!ordered || (i > 0 && !(counts_[i - 1].score < c.score)) || c.n_id < 0 || c.n_ood < 0 ||
          (c.n_id == 0 && c.n_ood == 0) || c.n_id > most - n_id_ || c.n_ood > most - n_ood_)
        fail(error_category::data, "negood.metric.6", "metric_state", "entry " + std::to_string(i) + " is not valid",
             "scores must be numbers in ascending order without repetition, counts not negative and not both zero");
      n_id_ += c.n_id;
      n_ood_ += c.n_ood;
    }
  }

  /// Adds scores of both sets; either may be empty. Nothing is changed when it throws.
  template <class Real>
  void add(std::span<const Real> id, std::span<const Real> ood, score_options options = {}) {
    const sorted_scores<Real> a(id, "the ID set", options), b(ood, "the OOD set", options);
    metric_state part;
    for (index_type i = 0, j = 0; i < a.size() || j < b.size();) {
      const auto key = std::min(a.keys()[i], b.keys()[j]);
      score_count c{static_cast<double>(detail::from_key<Real>(key)), 0, 0};
      for (; a.keys()[i] == key; ++i) ++c.n_id;
      for (; b.keys()[j] == key; ++j) ++c.n_ood;
      part.counts_.push_back(c);
    }
    part.n_id_ = a.size();
    part.n_ood_ = b.size();
    merge(part);
  }

  /// Adds another shard. The result does not depend on the order of shards.
  void merge(const metric_state& other) {
    std::vector<score_count> all;
    all.reserve(counts_.size() + other.counts_.size());
    auto a = counts_.begin();
    auto b = other.counts_.begin();
    while (a != counts_.end() || b != other.counts_.end()) {
      const bool take_a = b == other.counts_.end() || (a != counts_.end() && a->score <= b->score);
      const bool take_b = a == counts_.end() || (b != other.counts_.end() && b->score <= a->score);
      score_count c = take_a ? *a++ : *b++;
      if (take_a && take_b) {
        c.n_id += b->n_id;
        c.n_ood += b->n_ood;
        ++b;
      }
      all.push_back(c);
    }
    counts_ = std::move(all);
    n_id_ += other.n_id_;
    n_ood_ += other.n_ood_;
  }

  /// Equal, byte for byte, to `evaluate` of all scores that were added.
  metric_report report(double recall = 0.95) const {
    metric_report r = detail::empty_report(n_id_, n_ood_, recall);
    if (!r.reason.empty()) return r;
    detail::group_accumulator sums(n_id_, n_ood_, recall);
    constexpr auto block = static_cast<std::size_t>(detail::group_accumulator::block);
    std::array<index_type, block + 1> id{}, ood{};
    for (std::size_t first = 0; first < counts_.size(); first += block) {
      const std::size_t groups = std::min(block, counts_.size() - first);
      for (std::size_t g = 0; g < groups; ++g) {
        id[g + 1] = id[g] + counts_[first + g].n_id;
        ood[g + 1] = ood[g] + counts_[first + g].n_ood;
      }
      sums.consume(id.data(), ood.data(), static_cast<index_type>(groups));
      id[0] = id[groups];
      ood[0] = ood[groups];
    }
    r.values = sums.values();
    r.tied_pairs = sums.tied_pairs();
    r.degenerate = counts_.size() == 1;
    return r;
  }

  index_type n_id() const noexcept { return n_id_; }
  index_type n_ood() const noexcept { return n_ood_; }
  const std::vector<score_count>& counts() const noexcept { return counts_; }
  friend bool operator==(const metric_state&, const metric_state&) = default;

 private:
  std::vector<score_count> counts_;
  index_type n_id_ = 0, n_ood_ = 0;
};

}  // namespace negood
