// Options of detectors that learn from what they score.
#include "arguments.hpp"

namespace negood::cli {

void add_stream(CLI::App& to, stream_options& o) {
  auto& stream = *to.add_option_group("With --stream: interneg (Xu et al., Alg. 1), adaneg, clipscope");
  stream.add_option("--beta", o.beta,
                    "interneg: images with S <= beta are learned from; 'threshold': the calibrated one [0.35]");
  stream.add_option("-k,--memory", o.capacity, "interneg: rows of the memory [2000]");
  stream.add_option("--steps", o.steps, "interneg: steps of the inversion [10]");
  stream
      .add_option(
          "--templates", o.templates,
          "interneg: text with {} or $ for the image, or a file of such lines; several: each image draws one a step "
          "[\"a photo of {}\"]")
      ->take_all();
  stream
      .add_option("--semantics", o.semantics,
                  "sequential, or reference-batch:N to compare with the published programs' batches")
      ->capture_default_str();
  stream.add_option("--groups", o.groups, "interneg, with reference-batch: groups of the negatives")
      ->capture_default_str();
  stream.add_option("--admission", o.admission, "interneg: inline, deferred (learns after the last image), frozen")
      ->capture_default_str();
  stream
      .add_option("--guards", o.guards,
                  "interneg: standard (duplicates 0.999, 5 % of the memory a window, stops at 10 % turned decisions) "
                  "or off, the published algorithm")
      ->capture_default_str();
  stream.add_option("--canaries", o.canaries, "Features of known images that the memory must not lose");
  stream.add_option("--canary-loss", o.canary_loss, "Share of the canaries that may be lost")->capture_default_str();
  stream.add_option("--sources", o.sources, "Whose image each is: one integer a line, or .npy");
  stream.add_option("--source-cap", o.source_cap, "Rows of the memory a source may hold [no cap]");
  stream.add_option("--sightings", o.sightings, "Sources that must show the like before it is learned [1]");
  stream.add_option("--duplicate-cosine", o.duplicate_cosine,
                    "Refuse what is nearer than this to a row of the memory; above 1: off [0.999]");
  stream.add_option("--cluster-cap", o.cluster_cap, "Rows that may lie within --cluster-cosine [no cap]");
  stream.add_option("--cluster-cosine", o.cluster_cosine, "[0.95]");
  stream.add_option("--min-margin", o.min_margin, "Margin by which the candidate condition must hold [0]");
  stream.add_option("--window", o.window, "Images of a window; 0: no windows [1000]");
  stream.add_option("--window-share", o.window_share, "Share of the memory that may enter in a window [0.05]");
  stream.add_option("--drift-limit", o.drift_limit,
                    "Stop learning when the memory has turned this share of a window's decisions; above 1: off [0.1]");
  stream.add_option("--memory-out", o.memory_out, "Saves the detector with its memory; it goes on from there");
  stream.add_option("--log-out", o.log_out, "A line of JSON an image: score, outcome, margin, memory version");
  stream.add_option("--attempts-out", o.attempts_out, "Saves every inverted feature, for --replay");
  stream.add_option("--replay", o.replay, "Builds the memory from --attempts-out's file, without images; --memory-out");
  stream.add_option("--checkpoint", o.checkpoint, "interneg: where a stopped run leaves off [OUT.checkpoint]");
  stream.add_option("--checkpoint-every", o.checkpoint_every, "Also every so many images; 0: only when stopped")
      ->capture_default_str();
  stream.add_flag("--resume", o.resume, "Go on from the checkpoint");
  stream.add_option("--gamma", o.gamma, "adaneg: images well above or below it in NegLabel's score are learned from")
      ->capture_default_str();
  stream.add_option("--gap", o.gap, "adaneg: how far above or below, as a share of what is left")
      ->capture_default_str();
  stream.add_option("--gap-rule", o.gap_rule, "adaneg: fixed, window (the side seen more often moves outwards)")
      ->capture_default_str();
  stream.add_option("--slots", o.slots, "adaneg: images a label remembers")->capture_default_str();
  stream.add_option("--proxies", o.proxies, "adaneg: sample (weighted for every image), task (one a label)")
      ->capture_default_str();
  stream.add_option("--sharpness", o.sharpness, "adaneg: of the weights of sample-adaptive proxies")
      ->capture_default_str();
  stream.add_option("--lambda", o.lambda, "adaneg: weight of NegLabel's score beside the adaptive one")
      ->capture_default_str();
}

}  // namespace negood::cli
