/// \file training.hpp  What a training run is given, says on its way, keeps to go on from, and returns.
#pragma once

#include <negood/prompt/learned_prompts.hpp>

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace negood {

/// Cached unit image features: V views an image, row `i V + v`.
template <class Real>
struct training_features {
  host_matrix<Real> features;      ///< `[N V, e]`
  std::vector<index_type> labels;  ///< `[N]`
  index_type views = 1;
};

/// One step, as it happened.
struct trace_row {
  int stage = 1;  ///< 1 positives, 2 negatives (and both at once in the one-stage ablation)
  index_type epoch = 0, step = 0, steps = 0;
  double rate = 0;
  double loss = 0;                   ///< the sum that was minimised
  double cross_entropy = 0;          ///< stage 1 and one-stage
  double nis = 0, npd = 0, nnd = 0;  ///< unweighted, as the paper defines them
  double gradient_norm = 0;
  double mean_cosine = 0;  ///< mean pairwise cosine of the negatives of a class; 1 = they are the same prompt
};

/// Everything a run needs to go on: with counter-based randomness that is the parameters, the optimiser and the
/// position.
template <class Real>
struct training_checkpoint {
  int stage = 1;
  index_type step = 0;  ///< steps done in this stage
  host_matrix<Real> positive, negative;
  host_matrix<Real> positive_first, positive_second, negative_first, negative_second;  // optimiser
  index_type optimizer_steps = 0;                                                      ///< updates made in this stage
};

/// Hooks of a run; all optional.
template <class Real>
struct training_hooks {
  std::function<void(const trace_row&)> on_step{};
  std::function<void(const training_checkpoint<Real>&)> on_checkpoint{};
  index_type checkpoint_every = 0;  ///< steps; 0: only when stopped
  std::function<bool()> stop{};     ///< asked after every step; true: checkpoint, then error `negood.train.2`
};

/// Where a run starts from, instead of the options' initialisation.
template <class Real>
struct training_start {
  std::optional<host_matrix<Real>> positive{};  ///< `[n, d]`; taken as it is
  std::optional<host_matrix<Real>> negative{};  ///< `[p n, d]`; taken as it is, without noise
  std::optional<training_checkpoint<Real>> resume{};
};

enum class fit_outcome { completed, diverged };

template <class Real>
struct negprompt_fit {
  learned_prompts<Real> prompts;
  fit_outcome outcome = fit_outcome::completed;
  double final_mean_cosine = 0;
  std::vector<std::string> warnings;
};

}  // namespace negood
