/// \file ragged.hpp  Sequences of different lengths laid end to end in the rows of one matrix.
#pragma once

#include <negood/error.hpp>

#include <span>
#include <vector>

namespace negood {

/// Sequence s owns the rows `[offsets[s], offsets[s + 1])`. Nothing is padded.
struct ragged_rows {
  std::vector<index_type> offsets{0};

  static ragged_rows of_lengths(std::span<const index_type> lengths) {
    ragged_rows r;
    for (const index_type n : lengths) r.offsets.push_back(r.offsets.back() + n);
    return r;
  }
  static ragged_rows equal(index_type sequences, index_type length) {
    return of_lengths(std::vector<index_type>(static_cast<std::size_t>(sequences), length));
  }

  index_type sequences() const noexcept { return static_cast<index_type>(offsets.size()) - 1; }
  index_type rows() const noexcept { return offsets.back(); }
  index_type first(index_type s) const noexcept { return offsets[static_cast<std::size_t>(s)]; }
  index_type length(index_type s) const noexcept { return first(s + 1) - first(s); }

  /// The last row of every sequence (the end-of-text token), or the first (the class token).
  std::vector<index_type> last_rows() const {
    std::vector<index_type> out;
    for (index_type s = 0; s < sequences(); ++s) out.push_back(first(s + 1) - 1);
    return out;
  }
  std::vector<index_type> first_rows() const {
    std::vector<index_type> out;
    for (index_type s = 0; s < sequences(); ++s) out.push_back(first(s));
    return out;
  }
};

}  // namespace negood
