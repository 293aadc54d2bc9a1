/// \file negative_memory.hpp  A bounded memory of negative features learned at test time.
#pragma once

#include <negood/backend/host_matrix.hpp>
#include <negood/error.hpp>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace negood {

/// What the memory knows of a row beside the feature itself.
struct memory_entry {
  double key = 0;              ///< deviation degree: the largest stay
  std::uint64_t sequence = 0;  ///< number of the image it was learned from
  std::uint64_t source = 0;    ///< whose image it was: a camera, a user

  friend bool operator==(const memory_entry&, const memory_entry&) = default;
};

/// At most K unit rows of width D, those of largest key; equal keys keep the older. Bytes are bounded by
/// K (4 D + 24), whatever comes in.
class negative_memory {
 public:
  negative_memory(index_type capacity, index_type width) : capacity_(capacity), width_(width) {
    if (capacity < 0 || width < 1)
      fail(error_category::usage, "negood.stream.1", "negative_memory",
           "capacity " + std::to_string(capacity) + " and width " + std::to_string(width) + " are no memory");
  }

  index_type size() const noexcept { return static_cast<index_type>(entries_.size()); }
  index_type capacity() const noexcept { return capacity_; }
  index_type width() const noexcept { return width_; }
  /// Grows by one with every change; the same history gives the same number.
  std::uint64_t version() const noexcept { return version_; }
  const std::vector<memory_entry>& entries() const noexcept { return entries_; }
  /// `[size, D]`, row r belongs to entry r.
  host_view<float> features() const noexcept { return {rows_.data(), size(), width_}; }

  /// The row that a key would push out: none while there is room, nothing at all where the key itself is the smallest.
  struct place {
    bool enters = false;
    std::optional<index_type> evicts;
  };
  place place_of(const memory_entry& e) const {
    if (size() < capacity_) return {true, std::nullopt};
    if (capacity_ == 0) return {};
    const auto last = weakest();
    return before(e, entries_[static_cast<std::size_t>(last)]) ? place{true, last} : place{};
  }

  /// Inserts, replacing the weakest row of a full memory. False where the new row is the weakest itself.
  bool insert(std::span<const float> feature, const memory_entry& e) {
    const auto where = place_of(e);
    if (!where.enters) return false;
    index_type row = size();
    if (where.evicts) {
      row = *where.evicts;
    } else {
      entries_.reserve(entries_.size() + 1);  // both grow or neither does
      rows_.resize(rows_.size() + static_cast<std::size_t>(width_));
      entries_.emplace_back();
    }
    entries_[static_cast<std::size_t>(row)] = e;
    std::ranges::copy(feature, rows_.begin() + row * width_);
    ++version_;
    return true;
  }

  /// Removes the rows that `remove(entry)` names, the others keep their order. Returns how many went.
  template <class Predicate>
  index_type remove_if(Predicate&& remove) {
    std::size_t kept = 0;
    for (std::size_t r = 0; r < entries_.size(); ++r) {
      if (remove(std::as_const(entries_[r]))) continue;
      entries_[kept] = entries_[r];
      std::copy_n(rows_.begin() + static_cast<std::ptrdiff_t>(r) * width_, width_,
                  rows_.begin() + static_cast<std::ptrdiff_t>(kept) * width_);
      ++kept;
    }
    const auto gone = static_cast<index_type>(entries_.size() - kept);
    entries_.resize(kept);
    rows_.resize(kept * static_cast<std::size_t>(width_));
    if (gone > 0) ++version_;
    return gone;
  }

  /// A memory with rows from a file. \throws error negood.stream.2 for rows that do not fit
  static negative_memory restore(index_type capacity, const host_matrix<float>& features,
                                 std::vector<memory_entry> entries, std::uint64_t version) {
    negative_memory m(capacity, features.cols());
    if (static_cast<index_type>(entries.size()) != features.rows() || features.rows() > capacity)
      fail(error_category::artifact, "negood.stream.2", "negative_memory",
           std::to_string(entries.size()) + " entries for features " + shape_string(features.rows(), features.cols()) +
               " and a capacity of " + std::to_string(capacity),
           "one entry a row, no more rows than the capacity");
    for (const float v : features.values())
      if (!std::isfinite(v))
        fail(error_category::artifact, "negood.stream.2", "negative_memory", "the features hold NaN or Inf");
    m.rows_.assign(features.values().begin(), features.values().end());
    m.entries_ = std::move(entries);
    m.version_ = version;
    return m;
  }

 private:
  static bool before(const memory_entry& a, const memory_entry& b) {
    return a.key != b.key ? a.key > b.key : a.sequence < b.sequence;
  }
  index_type weakest() const { return std::ranges::max_element(entries_, before) - entries_.begin(); }

  index_type capacity_, width_;
  std::vector<float> rows_;
  std::vector<memory_entry> entries_;
  std::uint64_t version_ = 0;
};

}  // namespace negood
