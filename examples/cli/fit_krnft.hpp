/// \file fit_krnft.hpp  From the options of `fit` to those of a feature map, and what a run is called in its
/// checkpoints.
#pragma once

#include "fit_negatives.hpp"

#include <negood/feature/fit_krnft.hpp>

namespace negood::cli {

/// The preset, then every option that was given. `negatives` bounds the groups of training.
krnft_options krnft_options_of(const fit_options& o, index_type negatives);

/// The options as JSON, for the detector's file.
ordered_json describe(const fit_options& o, const krnft_options& options);

/// Where training starts, of the form of `form`; `--init-file` replaces the tensors it has.
template <class Real>
feature_parameters<Real> initial_map(const fit_options& o, const krnft_options& options, index_type width,
                                     const std::vector<index_type>& labels);

/// The hidden width in `--init-file`; nothing where it has no network.
std::optional<index_type> hidden_of_init_file(const fit_options& o);

/// One line of `--trace`.
std::string trace_line(const krnft_trace_row& row);

/// Text features of classes and negatives, as every method here is bound to them.
struct tuned_labels {
  texts classes, negatives;
  double logit_scale = 0;
  std::string fingerprint;
  ordered_json options;  ///< how they came about, for the detector's file
};

/// Crops or samples with their labels, in the precision of the run.
template <class Real>
struct tuning_data {
  krnft_training_data<Real> data;
  std::string source;
};

/// `--crop-features`, the crops of `--train`, or samples with `--outlier-features`.
template <Backend B>
tuning_data<real_t<B>> read_tuning_data(B& ctx, text_encoder<B>& model, const fit_options& o,
                                        const krnft_options& options, const tuned_labels& labels);

}  // namespace negood::cli
