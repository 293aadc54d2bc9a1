/// \file tuning_options.hpp  What `fit` is told of feature maps (krnft, nft, coft, taskres, ssf) besides the options
/// that other learned methods have too.
#pragma once

#include <negood/config.hpp>

#include <optional>
#include <string>
#include <vector>

namespace negood::cli {

struct tuning_options {
  std::vector<std::string> crop_features;  ///< positives, negatives: two files, or none
  std::string outlier_features, anchor = "image";
  std::string transform;  ///< a detector whose map is bound to other names; nothing is learned
  std::optional<index_type> hidden, crops, keep, outliers, score_groups;
  std::optional<double> lambda1, lambda2;
};

}  // namespace negood::cli
