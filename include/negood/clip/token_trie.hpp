/// \file token_trie.hpp  Token sequences as a trie: every distinct prefix is one node, cut into chunks of bounded size.
#pragma once

#include <negood/math/ragged.hpp>

#include <algorithm>
#include <span>
#include <vector>

namespace negood::clip {

/// Part of a trie whose rows are computed together. Nodes stand in the order in which they are first met.
struct trie_chunk {
  std::vector<index_type> token, position;  ///< of every node
  std::vector<index_type> ends;             ///< the node in which each sequence ends
  ragged_rows paths;                        ///< per sequence: its nodes from the common prefix to its end
  std::vector<index_type> path_rows;        ///< node of every row of `paths`
  std::vector<index_type> home;             ///< for every node the first row of `paths` in which it stands
};

/// Distinct sequences in lexicographic order, so that those with a common beginning are neighbours.
///
/// The first `common` tokens, which all share, are no nodes. A chunk has at most `chunk_rows` nodes (or one sequence);
/// nodes on the path to its first sequence are made again, about one in a hundred. Memory: two indices a sequence.
class token_trie {
 public:
  /// Keeps a view of `sequences`; each has more than `common` tokens.
  token_trie(std::span<const std::vector<index_type>> sequences, index_type common, index_type chunk_rows)
      : sequences_(sequences), common_(common), order_(sequences.size()) {
    for (std::size_t i = 0; i < order_.size(); ++i) order_[i] = static_cast<index_type>(i);
    std::ranges::sort(order_, [&](index_type a, index_type b) {
      const auto &x = tokens(a), &y = tokens(b);
      return x != y ? x < y : a < b;
    });
    index_type rows = 0;
    for (std::size_t i = 0; i < order_.size(); ++i) {
      const auto& s = tokens(order_[i]);
      index_type shared = common;
      if (i > 0) {
        const auto& before = tokens(order_[i - 1]);
        if (s == before) continue;  // the same feature
        shared = std::ranges::mismatch(s, before).in1 - s.begin();
      }
      first_.push_back(static_cast<index_type>(i));
      shared_.push_back(shared);
      const auto length = static_cast<index_type>(s.size());
      distinct_nodes_ += length - shared;
      if (cuts_.empty() || rows + length - shared > chunk_rows) {
        cuts_.push_back(static_cast<index_type>(first_.size()) - 1);
        rows = 0;
        shared = common;
      }
      rows += length - shared;
      nodes_ += length - shared;
    }
    cuts_.push_back(static_cast<index_type>(first_.size()));
    first_.push_back(static_cast<index_type>(order_.size()));
  }

  index_type chunks() const noexcept { return static_cast<index_type>(cuts_.size()) - 1; }
  /// Rows computed in all chunks, and how many of them are different prefixes.
  index_type nodes() const noexcept { return nodes_; }
  index_type distinct_nodes() const noexcept { return distinct_nodes_; }

  trie_chunk chunk(index_type c) const {
    trie_chunk out;
    std::vector<index_type> path, lengths;
    for (index_type k = cut(c); k < cut(c + 1); ++k) {
      const auto& s = tokens(order_[static_cast<std::size_t>(first_[static_cast<std::size_t>(k)])]);
      const auto shared = k == cut(c) ? common_ : shared_[static_cast<std::size_t>(k)];
      path.resize(static_cast<std::size_t>(shared - common_));
      const auto first_row = static_cast<index_type>(out.path_rows.size());
      for (auto t = shared; t < static_cast<index_type>(s.size()); ++t) {
        path.push_back(static_cast<index_type>(out.token.size()));
        out.token.push_back(s[static_cast<std::size_t>(t)]);
        out.position.push_back(t);
        out.home.push_back(first_row + t - common_);
      }
      out.path_rows.insert(out.path_rows.end(), path.begin(), path.end());
      out.ends.push_back(path.back());
      lengths.push_back(static_cast<index_type>(path.size()));
    }
    out.paths = ragged_rows::of_lengths(lengths);
    return out;
  }

  /// The sequences, by their place in the list given, that are sequence `k` of chunk `c`.
  std::span<const index_type> members(index_type c, index_type k) const {
    const auto at = static_cast<std::size_t>(cut(c) + k);
    return std::span<const index_type>(order_).subspan(static_cast<std::size_t>(first_[at]),
                                                       static_cast<std::size_t>(first_[at + 1] - first_[at]));
  }

 private:
  const std::vector<index_type>& tokens(index_type i) const { return sequences_[static_cast<std::size_t>(i)]; }
  index_type cut(index_type c) const { return cuts_[static_cast<std::size_t>(c)]; }

  std::span<const std::vector<index_type>> sequences_;
  index_type common_, nodes_ = 0, distinct_nodes_ = 0;
  std::vector<index_type> order_;   ///< places in the list, sorted by their tokens
  std::vector<index_type> first_;   ///< where in `order_` each distinct sequence begins; one more at the end
  std::vector<index_type> shared_;  ///< tokens that a distinct sequence has in common with the one before it
  std::vector<index_type> cuts_;    ///< first distinct sequence of each chunk; one more at the end
};

}  // namespace negood::clip
