/// \file krnft_training.hpp  What the training of a feature map is given, says on its way, keeps to go on from,
/// returns.
#pragma once

#include <negood/feature/krnft_options.hpp>
#include <negood/prompt/training.hpp>

#include <functional>
#include <optional>

namespace negood {

/// Text features as they are: unit rows for CLIP's labels, of any length for TaskRes.
template <class Real>
struct krnft_texts {
  host_matrix<Real> classes;              ///< `[N, D]`
  host_matrix<Real> negatives{};          ///< `[M, D]`
  std::vector<index_type> permutation{};  ///< of the grouped negatives; empty: as they stand
  double logit_scale = 100;               ///< exponentiated
  host_matrix<Real> teacher_classes{};    ///< another target of L_kr; empty: `classes`
  host_matrix<Real> teacher_negatives{};  ///< with it
};

/// Cached unit image features.
///
/// Either crops: Q positives and Q' negatives an image, image-major, the first positive of each its anchor. Or samples
/// and a pool of outliers that belong to no image (`pooled`): Q = 1, the pool has any number of rows, every step takes
/// the next of its own shuffled order, and a pooled outlier is conditioned on itself.
template <class Real>
struct krnft_training_data {
  host_matrix<Real> positives;     ///< `[K Q, D]`
  host_matrix<Real> negatives;     ///< `[K Q', D]`, or the pool; no rows: L_n is left out
  std::vector<index_type> labels;  ///< `[K]`, in [0, N)
  bool pooled = false;
  std::vector<double> positive_weights{};  ///< one a row, or empty: multiplies the row's share of L_p
  std::vector<double> negative_weights{};  ///< likewise, of L_n
};

/// One step, as it happened.
struct krnft_trace_row {
  index_type epoch = 0, step = 0, steps = 0;
  double loss = 0;                            ///< the sum that was minimised
  double id = 0, outlier = 0, knowledge = 0;  ///< L_p, L_n, L_kr, unweighted
  double gradient_norm = 0;
  conditioning_report conditioning;  ///< of the step: max|delta|, kappa, labels computed again, clamps
};

/// Parameters, optimiser and position: with counter-based randomness all that a run needs to go on.
template <class Real>
struct krnft_checkpoint {
  index_type step = 0;  ///< steps done
  feature_parameters<Real> parameters;
  std::vector<host_matrix<Real>> first, second;  ///< the optimiser's, in the order of `for_each_tensor`, by partition
};

/// Hooks of a run; all optional.
template <class Real>
struct krnft_hooks {
  std::function<void(const krnft_trace_row&)> on_step{};
  std::function<void(const krnft_checkpoint<Real>&)> on_checkpoint{};
  index_type checkpoint_every = 0;  ///< steps; 0: only when stopped
  std::function<bool()> stop{};     ///< asked after every step; true: checkpoint, then error `negood.train.2`
};

/// Where a run starts from, instead of the map that changes nothing.
template <class Real>
struct krnft_start {
  std::optional<feature_parameters<Real>> parameters{};
  std::optional<krnft_checkpoint<Real>> resume{};
};

}  // namespace negood
