/// \file rank_crops.hpp  Which random crops of an image show its label, and which show something else.
#pragma once

#include <negood/backend/host_matrix.hpp>
#include <negood/math/fixed_order_dot.hpp>

#include <algorithm>
#include <cmath>
#include <numeric>
#include <string>
#include <vector>

namespace negood {

/// Crops of one image in the order of their cosine to the image's label.
struct ranked_crops {
  std::vector<index_type> best;   ///< Q, the largest first: the first is the image's anchor
  std::vector<index_type> worst;  ///< Q, the smallest first
};

/// Ranks the unit features of P crops of an image, `[P, D]`, by their cosine to the text of its label ("a photo of a
/// ...") and takes the Q first as positives, the Q last as negatives (KR-NFT, Zhu et al. 2025, after ID-like, Bai et
/// al. 2024). Equal cosines: the earlier crop first. Sums are in double in one order, so that the choice is the same on
/// every machine. \throws error negood.krnft.8 for Q < 1 or P < 2 Q, where the two would overlap, and for a cosine that
/// is not finite; negood.shape.2 for widths that differ
template <class Real>
ranked_crops rank_crops(host_view<Real> crops, std::span<const Real> label_text, index_type keep) {
  require_shape(crops.cols == static_cast<index_type>(label_text.size()), "rank_crops", "crops", crops.rows, crops.cols,
                "label", 1, static_cast<index_type>(label_text.size()), "widths must match");
  if (keep < 1 || crops.rows / 2 < keep)
    fail(error_category::usage, "negood.krnft.8", "rank_crops",
         std::to_string(crops.rows) + " crops for " + std::to_string(keep) + " positives and as many negatives",
         "draw at least twice as many crops as are kept on a side");
  std::vector<double> cosine;
  for (index_type i = 0; i < crops.rows; ++i) {
    cosine.push_back(fixed_order_dot(crops.row(i), label_text));
    if (!std::isfinite(cosine.back()))
      fail(error_category::data, "negood.krnft.8", "rank_crops", "crop " + std::to_string(i) + " is not finite",
           "check the image and the model");
  }
  std::vector<index_type> order(cosine.size());
  std::iota(order.begin(), order.end(), index_type{0});
  std::stable_sort(order.begin(), order.end(), [&](index_type a, index_type b) {
    return cosine[static_cast<std::size_t>(a)] > cosine[static_cast<std::size_t>(b)];
  });
  return {{order.begin(), order.begin() + keep}, {order.rbegin(), order.rbegin() + keep}};
}

}  // namespace negood
