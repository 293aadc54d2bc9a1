/// \file fused_scores.hpp  Largest logit and log-sum-exp of each image, a block of images at a time.
#pragma once

#include <negood/backend/eigen/fused_rows.hpp>
#include <negood/score/logit_statistics.hpp>

#include <algorithm>

namespace negood::eigen {

/// The logits of 64 images live in cache until their row is reduced; memory does not grow with the number of images.
template <class Real>
logit_statistics_of<context<Real>> run_fused(context<Real>& ctx, logit_statistics_t, const tensor<Real>& images,
                                             const frozen<Real>& texts, double scale) {
  constexpr index_type block = 64;
  const index_type n = images.rows();
  tensor<Real> maximum(n, 1), logsumexp(n, 1);
  ctx.for_each_task((n + block - 1) / block, [&](context<Real>& worker, index_type t) {
    const index_type first = t * block, count = std::min(block, n - first);
    auto z = worker.matmul_nt(worker.block(images, first, 0, count, images.cols()), texts);
    for (index_type r = 0; r < count; ++r) {
      simd::transform<Real>(
          z.cols(), z.row(r), [&](simd::vec<Real> v) { return v * static_cast<Real>(scale); },
          static_cast<const Real*>(z.row(r)));
      const auto e = detail::exponentiate<Real>(z.cols(), z.row(r), static_cast<Real*>(nullptr));
      maximum.data()[first + r] = e.maximum;
      logsumexp.data()[first + r] = e.maximum + std::log(e.sum);
    }
  });
  return {std::move(maximum), std::move(logsumexp)};
}

}  // namespace negood::eigen
