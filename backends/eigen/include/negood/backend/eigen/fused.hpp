/// \file fused.hpp  The algorithms this backend computes in one pass, as `run_fused(ctx, algorithm, arguments...)`.
#pragma once

#include <negood/backend/eigen/fused_attention.hpp>
#include <negood/backend/eigen/fused_feature_steps.hpp>
#include <negood/backend/eigen/fused_features.hpp>
#include <negood/backend/eigen/fused_rows.hpp>
#include <negood/backend/eigen/fused_scores.hpp>

namespace negood::eigen {

using fused_algorithms =
    override_list<logsumexp_rows_t, softmax_rows_t, layer_norm_t, layer_norm_pullback_t, linear_t,
                  activation_pullback_t, attention_t, attention_pullback_t, logit_statistics_t, conditioned_logits_t,
                  feature_lengths_t, length_slopes_t, divided_logits_t, divided_logits_pullback_t, grouped_losses_t>;

}  // namespace negood::eigen
