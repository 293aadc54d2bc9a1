/// \file sort_scores.hpp  Scores of a backend sorted where they lie, and the metrics of two such sets.
#pragma once

#include <negood/backend/concepts.hpp>
#include <negood/metric/evaluate.hpp>

namespace negood {

/// The sorted keys of scores `[n, 1]`; waits for them. \throws as the constructor of `sorted_scores`
struct sort_scores_t {
  template <Backend B>
  sorted_scores<real_t<B>> operator()(B& ctx, const tensor_t<B>& scores, std::string_view name = "scores",
                                      score_options options = {}) const {
    require_shape(ctx.cols(scores) == 1, "sort_scores", name, ctx.rows(scores), ctx.cols(scores), "expected",
                  ctx.rows(scores), 1, "one score a row");
    if constexpr (overrides<B, sort_scores_t>)
      return ctx.fused(*this, scores, name, options);
    else
      return generic(ctx, scores, name, options);
  }
  template <Backend B>
  static sorted_scores<real_t<B>> generic(B& ctx, const tensor_t<B>& scores, std::string_view name,
                                          score_options options) {
    const auto here = ctx.to_host(scores);
    return sorted_scores<real_t<B>>(here.view().values(), name, options);
  }
};
inline constexpr sort_scores_t sort_scores{};

/// All metrics of ID scores against OOD scores `[n, 1]` that lie on a backend: `evaluate` of their values.
template <Backend B>
metric_report evaluate(B& ctx, const tensor_t<B>& id, const tensor_t<B>& ood, metric_options options = {}) {
  const score_options scores{options.allow_infinite};
  return evaluate(sort_scores(ctx, id, "the ID set", scores), sort_scores(ctx, ood, "the OOD set", scores), options);
}

}  // namespace negood
