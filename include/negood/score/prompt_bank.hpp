/// \file prompt_bank.hpp  The text side of a detector: positive and negative features, packed for scoring.
#pragma once

#include <negood/backend/concepts.hpp>

#include <concepts>
#include <vector>

namespace negood {

/// Anything with positive and negative text features and a scale.
template <class P, class B>
concept PromptBank = requires(const P& bank) {
  { bank.positive } -> std::convertible_to<const tensor_t<B>&>;
  { bank.negative } -> std::convertible_to<const tensor_t<B>&>;
  { bank.logit_scale } -> std::convertible_to<double>;
};

/// Unit text features. The packed forms are what scores multiply with; groups are runs of the (permuted) negatives.
template <Backend B>
struct prompt_bank {
  tensor_t<B> positive;  ///< `[C, D]`
  tensor_t<B> negative;  ///< `[M, D]`, class-major where negatives belong to classes, in the order of the groups
  double logit_scale = 1;
  frozen_t<B> packed_positive;
  std::vector<frozen_t<B>> packed_groups;  ///< empty without negatives
};

/// Packs features for scoring. With G groups the negatives are taken in the order `permutation` (identity when empty),
/// the last M mod G of the original order are dropped first, and runs of floor(M / G) form the groups, as NegLabel
/// does. `group_permutation(M - M % G)` (score/group_permutation.hpp) is the order of InterNeg's and AdaNeg's programs.
template <Backend B>
prompt_bank<B> make_prompt_bank(B& ctx, tensor_t<B> positive, tensor_t<B> negative, double logit_scale,
                                index_type groups = 1, std::vector<index_type> permutation = {}) {
  const index_type m = ctx.rows(negative), each = groups > 0 ? m / groups : 0, used = each * groups;
  if (ctx.rows(positive) == 0)
    fail(error_category::data, "negood.bank.1", "prompt_bank", "there is no positive feature",
         "give at least one class");
  if (m > 0)
    require_shape(ctx.cols(positive) == ctx.cols(negative), "prompt_bank", "positive", ctx.rows(positive),
                  ctx.cols(positive), "negative", m, ctx.cols(negative), "widths must match");
  if (groups < 1 || (m > 0 && each == 0))
    fail(error_category::usage, "negood.bank.2", "prompt_bank",
         std::to_string(groups) + " groups cannot be made of " + std::to_string(m) + " negatives",
         "use between 1 and M groups");
  if (!permutation.empty() && static_cast<index_type>(permutation.size()) != used)
    fail(error_category::usage, "negood.bank.3", "prompt_bank",
         "the permutation has " + std::to_string(permutation.size()) + " entries, " + std::to_string(used) +
             " negatives are grouped",
         "permute the negatives that remain after dropping M mod G");
  if (!permutation.empty()) negative = ctx.gather_rows(negative, permutation);
  auto packed_positive = ctx.freeze(positive);
  std::vector<frozen_t<B>> packed;
  for (index_type g = 0; m > 0 && g < groups; ++g)
    packed.push_back(ctx.freeze(ctx.block(negative, g * each, 0, each, ctx.cols(negative))));
  return {std::move(positive), std::move(negative), logit_scale, std::move(packed_positive), std::move(packed)};
}

}  // namespace negood
