/// \file row_blocks.hpp  Element work on wide matrices, a few rows at a time, so that they stay in cache.
#pragma once

#include <negood/backend/concepts.hpp>

#include <algorithm>
#include <vector>

namespace negood::detail {

/// Rows that are worked on together: few, so that they stay in a processor's cache; for a device with thousands of
/// threads, which says so by `index_per_element` (kernels/primitives.hpp), as many as there are.
template <Backend B>
inline constexpr index_type rows_at_once = [] {
  if constexpr (requires { B::index_per_element; })
    return B::index_per_element ? index_type{1} << 16 : index_type{8};
  else
    return index_type{8};
}();
template <Backend B>
index_type row_blocks(index_type rows) {
  return (rows + rows_at_once<B> - 1) / rows_at_once<B>;
}

/// f(worker, first, count, block) for blocks of rows in [0, rows), perhaps at once. The cut is fixed, so that bytes do
/// not depend on the number of threads.
template <Backend B, class F>
void for_each_row_block(B& ctx, index_type rows, F&& f) {
  ctx.for_each_task(row_blocks<B>(rows), [&](B& worker, index_type block) {
    const index_type first = block * rows_at_once<B>;
    f(worker, first, std::min(rows_at_once<B>, rows - first), block);
  });
}

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

/// A row `[1, n]` as a column `[n, 1]`, or the other way round.
template <Backend B>
tensor_t<B> column(B& ctx, const tensor_t<B>& row) {
  const auto host = ctx.to_host(row);
  return ctx.from_host(host_view<real_t<B>>(host.data(), host.cols(), host.rows()));
}

/// 1 - cos(tau, u) of `[rows, n]` pairs without cancellation, near 1 and near -1 alike:
///
///     |u - tau|^2 = (|u| - |tau|)^2 + 2 |u| |tau| (1 - cos),   |u| - |tau| = (q - |tau|^2)/(|u| + |tau|)
///
/// y = |u - tau|^2, grown = q - |tau|^2, l = |u|, t = 1/|u|; length = |tau| and half = 1/(2 |tau|) are `[1, n]`.
template <Backend B>
tensor_t<B> cosine_distance(B& ctx, const tensor_t<B>& y, const tensor_t<B>& grown, const tensor_t<B>& l,
                            const tensor_t<B>& t, const tensor_t<B>& length, const tensor_t<B>& half) {
  const auto longer = ctx.map(element::divide{}, grown, ctx.map_cols(element::add{}, l, length));
  const auto across = ctx.map(element::subtract{}, y, ctx.map(element::square{}, longer));
  return ctx.map_cols(element::multiply{}, ctx.map(element::multiply{}, across, t), half);
}

}  // namespace negood::detail
