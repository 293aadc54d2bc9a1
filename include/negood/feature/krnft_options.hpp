/// \file krnft_options.hpp  Everything the training of feature maps can be told, and the presets.
#pragma once

#include <negood/loss/krnft_objective.hpp>
#include <negood/train/optimizer.hpp>

#include <cstdint>

namespace negood {

/// What a training row is conditioned on.
enum class condition_anchor {
  per_group,  ///< all rows of an image on its anchor, its best crop: what the released code does
  per_sample  ///< every row on itself, as the paper's equations read and as scoring does
};

/// KR-NFT (Zhu et al., ACM MM 2025). The defaults are the preset `paper()`.
struct krnft_options {
  feature_model model = feature_models::kr_nft;
  index_type hidden = 64;         ///< H, hidden width of the networks
  index_type groups = 10;         ///< G of the training losses; scoring has its own
  index_type steps = 1200;        ///< exactly
  index_type images = 1;          ///< a step
  index_type outliers = 32;       ///< a step, where outliers are a pool of their own
  double outlier_weight = 0.3;    ///< lambda_1
  double knowledge_weight = 100;  ///< lambda_2
  double outlier_floor = 0;       ///< inside the logarithm of L_n; 0: the stable form
  condition_anchor anchor = condition_anchor::per_group;
  double learning_rate = 1e-5;  ///< constant
  optimizer_options optimizer{.kind = optimizer_kind::adamw, .weight_decay = 0.01};
  bool shuffle = true;  ///< a new order of the images every epoch; no: in order
  std::uint64_t seed = 1;
  index_type rows_at_once = 256;
  feature_evaluation evaluation = feature_evaluation::automatic;
  conditioning_options conditioning{};
  // For whoever makes the crops; training itself takes features.
  index_type crops = 256;  ///< P random crops an image
  index_type keep = 32;    ///< Q: the best and the worst by their cosine to the label's "a photo of a ..."

  /// The paper's values where it states any, else the released ones: lambda_2 = 100, P = 256, Q = 32, lr 1e-5, no
  /// floor. Not in the paper and taken from the code: G = 10, one condition an image, H = 64 (the paper's 6K parameters
  /// are H = 1), weight decay 0.01, 1,200 steps, random crops without colour changes.
  static krnft_options paper() { return {}; }

  /// What the released code computes. Differs from `paper()` in lambda_2 = 10, P = 128, and 1e-16 inside the logarithm
  /// of L_n. (Its 10,500 negative labels instead of 10,000 are an input.) Kept from it: G = 10 in training and 1 in
  /// scoring, one condition an image, and 1,200 steps, which are a tenth of its three epochs of 4,000 images. Not
  /// reproduced: a random generator that is seeded again at every step, so that epochs two and three repeat the first
  /// one's crops and order; outputs of the networks in half precision.
  static krnft_options released() {
    krnft_options o;
    o.knowledge_weight = 10;
    o.outlier_floor = 1e-16;
    o.crops = 128;
    return o;
  }
};

}  // namespace negood
