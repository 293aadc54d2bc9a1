// What fit is told of feature maps on the command line.
#include "arguments.hpp"

namespace negood::cli {

void add_tuning(CLI::App& to, tuning_options& t) {
  auto* const map = to.add_option_group(
      "Feature maps: krnft, nft, coft (Zhu et al. 2025), taskres (Yu et al. 2023), ssf (Lian et al. 2022); in brackets "
      "what preset paper says");
  map->add_option("--transform", t.transform,
                  "Learns nothing: binds the map of a detector to --names and negatives of their own");
  map->add_option("--hidden", t.hidden, "krnft, coft: hidden width of the networks [64]");
  map->add_option("--lambda1", t.lambda1, "Weight of L_n, which pushes outliers to the negatives [0.3]");
  map->add_option("--lambda2", t.lambda2, "Weight of L_kr, which holds the text features in place [100; released 10]");
  map->add_option("--score-groups", t.score_groups,
                  "Groups of negatives in the score; --groups is that of training [1]");
  map->add_option("--crop-features", t.crop_features,
                  "Positive and negative crops as features, Q rows an image each, the best positive first; with "
                  "--train-labels, one an image")
      ->expected(2);
  map->add_option("--crops", t.crops, "P, random crops of an image of --train [256; released 128]");
  map->add_option("--keep", t.keep,
                  "Q: crops nearest to \"a photo of a\" the label are positives, the farthest negatives [32]");
  map->add_option("--outlier-features", t.outlier_features,
                  "Outliers instead of crops; --train or --train-features are then samples as they are");
  map->add_option("--outliers", t.outliers, "Of them so many a step [32]");
  map->add_option("--anchor", t.anchor,
                  "What a crop is conditioned on: image (its image's best crop, as released) or sample (itself, as the "
                  "equations read and as scoring does)")
      ->capture_default_str();
}

}  // namespace negood::cli
