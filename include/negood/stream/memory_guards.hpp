/// \file memory_guards.hpp  What keeps a hostile, repetitive or drifting stream from spoiling a memory.
#pragma once

#include <negood/error.hpp>
#include <negood/stream/negative_memory.hpp>

#include <limits>
#include <set>
#include <string>
#include <vector>

namespace negood {

/// All off: the published algorithm. `standard()`: what a program should start from.
struct memory_guards {
  double min_margin = 0;        ///< an inverted feature must clear the candidate condition by more than this
  double duplicate_cosine = 2;  ///< refuse a feature nearer than this to one in the memory; above 1: off
  index_type source_cap = 0;    ///< rows a source may hold; 0: no cap
  index_type cluster_cap = 0;   ///< rows within `cluster_cosine` of each other; 0: no cap
  double cluster_cosine = 0.95;
  index_type sightings = 1;  ///< sources that must show the same (by `sighting_cosine`) before it enters
  double sighting_cosine = 0.95;
  double canary_loss = 2;     ///< share of canaries that may be lost beyond those lost at the start; above 1: off
  index_type window = 0;      ///< images of a window (by sequence number) for the two limits below; 0: no windows
  double window_share = 1;    ///< share of the capacity that may enter in a window
  double drift_limit = 2;     ///< share of a window's images whose decision the memory may turn; above 1: off
  double drift_log_odds = 0;  ///< the decision: known where z is above this. NaN: at beta

  /// Near-duplicates, floods and drift (windows of 1,000 images); canaries and sources are the caller's to give.
  static memory_guards standard() {
    memory_guards g;
    g.duplicate_cosine = 0.999;
    g.window = 1000;
    g.window_share = 0.05;
    g.drift_limit = 0.1;
    g.drift_log_odds = std::numeric_limits<double>::quiet_NaN();
    return g;
  }
};

/// \throws error negood.stream.1 for guards out of range
inline void check_guards(const memory_guards& g) {
  if (g.sightings >= 1 && g.source_cap >= 0 && g.cluster_cap >= 0 && g.window >= 0 && g.window_share >= 0 &&
      g.drift_limit >= 0 && !std::isnan(g.min_margin))
    return;
  fail(error_category::usage, "negood.stream.1", "memory_guards", "a guard is out of range",
       "at least one sighting, caps, windows and shares from 0 on");
}

/// A feature that waits for more sources to show the like.
struct quarantined_feature {
  std::vector<float> feature;
  std::set<std::uint64_t> sources;
  friend bool operator==(const quarantined_feature&, const quarantined_feature&) = default;
};

/// A count that starts anew with every window of sequence numbers.
struct window_count {
  std::uint64_t window = 0;  ///< sequence number / images of a window
  index_type count = 0;

  void enter(std::uint64_t sequence, index_type images) {
    const auto now = sequence / static_cast<std::uint64_t>(std::max<index_type>(1, images));
    if (now != window) *this = {now, 0};
  }
  friend bool operator==(const window_count&, const window_count&) = default;
};

/// All a stream has learned. Saved and restored, it goes on to the same bytes.
struct interneg_state {
  negative_memory memory;
  std::optional<std::uint64_t> last_sequence{};
  window_count admitted{};  ///< features that entered
  window_count turned{};    ///< images the memory turned from known to unknown
  bool drifted = false;     ///< the memory turned too many decisions: it learns no more
  std::vector<quarantined_feature> quarantine{};
};

}  // namespace negood
