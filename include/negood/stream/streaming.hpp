/// \file streaming.hpp  Detectors that learn from the images they score: what goes in and what comes out.
#pragma once

#include <negood/backend/concepts.hpp>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace negood {

/// What became of an image besides its score.
enum class admission {
  not_considered,   ///< it looked known, or the detector is frozen
  admitted,         ///< its feature is in the memory
  deferred,         ///< it waits for `settle`
  refused_near_id,  ///< the inverted feature is as near to some class's images as that class's own text
  refused_full,     ///< the memory is full of features farther from the classes
  refused_duplicate,
  refused_source,   ///< its source has had its share
  refused_cluster,  ///< the memory holds enough of its kind
  refused_window,   ///< enough has entered of late
  refused_canary,   ///< it would have made known images look unknown
  quarantined       ///< seen, waits for the same from other sources
};

constexpr std::string_view format_admission(admission a) {
  constexpr std::string_view names[] = {"not_considered", "admitted",          "deferred",       "refused_near_id",
                                        "refused_full",   "refused_duplicate", "refused_source", "refused_cluster",
                                        "refused_window", "refused_canary",    "quarantined"};
  return names[static_cast<std::size_t>(a)];
}

/// The caller's name for an image: results depend on the order of sequence numbers and on nothing else.
struct observation {
  std::uint64_t sequence = 0;
  std::uint64_t source = 0;
};

struct stream_answer {
  double score = 0;            ///< S, higher = more in-distribution; in [0, 1] unless the method says otherwise
  double log_odds = 0;         ///< ranks as S does and does not saturate; log(S / (1 - S)) for S in [0, 1]
  index_type label_index = 0;  ///< the most similar class; no memory changes it
  admission outcome = admission::not_considered;
  double margin = 0;                 ///< of the inverted feature (select/deviation_degree.hpp), where there is one
  double inversion_cosine = 0;       ///< <t, h> of the inverted feature, where there is one
  std::uint64_t memory_version = 0;  ///< of the memory the score was made with
};

/// Refuses observations that are not one for every image, or whose numbers do not grow from `last` on.
/// \throws error negood.stream.3
inline void check_order(index_type images, std::span<const observation> who, std::optional<std::uint64_t> last) {
  if (static_cast<index_type>(who.size()) != images)
    fail(error_category::usage, "negood.stream.3", "observe",
         std::to_string(who.size()) + " observations for " + std::to_string(images) + " images", "one each");
  for (const auto& w : who) {
    if (last && w.sequence <= *last)
      fail(error_category::data, "negood.stream.3", "observe",
           "sequence number " + std::to_string(w.sequence) + " follows " + std::to_string(*last),
           "numbers must grow; the same image is not observed twice");
    last = w.sequence;
  }
}

/// Scores images in the order of their sequence numbers and may learn from them. Labels never go in.
template <class S, class Features>
concept StreamingScorer = requires(S& s, const Features& images, std::span<const observation> who) {
  { s.observe(images, who) } -> std::same_as<std::vector<stream_answer>>;
};

}  // namespace negood
