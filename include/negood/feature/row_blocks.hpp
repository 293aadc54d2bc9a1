/// \file row_blocks.hpp  Element work on wide matrices, a few rows at a time, so that they stay in cache.
#pragma once

#include <negood/backend/concepts.hpp>

#include <algorithm>
#include <vector>

namespace negood::detail {

inline constexpr index_type rows_in_cache = 8;

/// f(worker, first, count, block) for blocks of rows in [0, rows), perhaps at once. The cut is fixed, so that bytes do
/// not depend on the number of threads.
template <Backend B, class F>
void for_each_row_block(B& ctx, index_type rows, F&& f) {
  ctx.for_each_task((rows + rows_in_cache - 1) / rows_in_cache, [&](B& worker, index_type block) {
    const index_type first = block * rows_in_cache;
    f(worker, first, std::min(rows_in_cache, rows - first), block);
  });
}
inline index_type row_blocks(index_type rows) { return (rows + rows_in_cache - 1) / rows_in_cache; }

/// a over b, both with the same width.
template <Backend B>
tensor_t<B> stacked(B& ctx, const tensor_t<B>& a, const tensor_t<B>& b) {
  auto out = ctx.zeros(ctx.rows(a) + ctx.rows(b), ctx.cols(a));
  ctx.paste(out, a, 0, 0);
  ctx.paste(out, b, ctx.rows(a), 0);
  return out;
}

/// The sum of a * b over each row, `[rows, 1]`.
template <Backend B>
tensor_t<B> row_dots(B& ctx, const tensor_t<B>& a, const tensor_t<B>& b) {
  return ctx.reduce_rows(reduction::sum{}, ctx.map(element::multiply{}, a, b));
}

/// 1 - cos from its stable parts: sin^2 = (1 - cos)(1 + cos) where cos > 0, the difference itself where it is not.
///
///     1 - cos = (sin^2 + g (1 - cos)) / (1 + cos + g),   g = max(0, -cos)
template <Backend B>
tensor_t<B> cosine_distance(B& ctx, const tensor_t<B>& sin2, const tensor_t<B>& cosine) {
  const auto negated = ctx.map(element::scale{-1.0}, cosine);
  const auto g = ctx.map_rows(element::maximum{}, negated, ctx.zeros(ctx.rows(cosine), 1));
  const auto top =
      ctx.map(element::add{}, sin2, ctx.map(element::multiply{}, g, ctx.map(element::shift{1.0}, negated)));
  return ctx.map(element::divide{}, top, ctx.map(element::shift{1.0}, ctx.map(element::add{}, cosine, g)));
}

}  // namespace negood::detail
