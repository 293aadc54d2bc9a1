/// \file percentile.hpp  NegLabel's selection of negative words: far from the ID texts in all but the nearest few.
#pragma once

#include <negood/backend/host_matrix.hpp>
#include <negood/metric/convention.hpp>

#include <algorithm>
#include <array>
#include <cmath>
#include <string>
#include <vector>

namespace negood {

/// Which similarity stands for the percentile p of N ascending ones.
enum class percentile_rule {
  floor_index,  ///< the one at index floor(p N), at most N-1; the released KR-NFT code's rule
  interpolated  ///< linear between neighbours at position p (N-1); NegLabel's own rule (numpy's and torch's quantile)
};

struct percentile_options {
  index_type count = 0;  ///< words to select; if 0, `fraction` decides. More than there are: all of them
  double fraction = 0;   ///< share of the candidates, floor(fraction * rows)
  double percentile = 0.95;
  percentile_rule rule = percentile_rule::floor_index;
};

struct selected_word {
  index_type index = 0;  ///< row of the candidate
  double key = 0;        ///< percentile of its similarities to the ID texts; smaller = farther = selected earlier

  friend bool operator==(const selected_word&, const selected_word&) = default;
};

namespace detail {

/// similarity[n] = <row, id_n> for the texts of one candidate, the texts transposed to [D, N] in double. A product of
/// two floats is exact in double and every sum runs over d in order, so the result depends on nothing but the two
/// vectors.
inline void similarities(std::span<const float> row, const std::vector<double>& id_transposed, std::span<double> out) {
  constexpr std::size_t tile = 32;  // sums kept in registers
  const std::size_t n = out.size();
  std::size_t first = 0;
  for (; first + tile <= n; first += tile) {
    std::array<double, tile> sum{};
    const double* column = id_transposed.data() + first;
    for (const float x : row) {
      for (std::size_t k = 0; k < tile; ++k) sum[k] += static_cast<double>(x) * column[k];
      column += n;
    }
    std::copy(sum.begin(), sum.end(), out.begin() + static_cast<std::ptrdiff_t>(first));
  }
  for (; first < n; ++first) {
    double sum = 0;
    for (std::size_t d = 0; d < row.size(); ++d) sum += static_cast<double>(row[d]) * id_transposed[d * n + first];
    out[first] = sum;
  }
}

/// Reorders `values`.
inline double percentile_of(std::span<double> values, double percentile, percentile_rule rule) {
  const auto n = static_cast<index_type>(values.size());
  index_type low = 0;
  double weight = 0;
  if (rule == percentile_rule::floor_index) {
    low = std::min(largest_count(n, percentile), n - 1);
  } else {
    const double position = percentile * static_cast<double>(n - 1);
    low = static_cast<index_type>(std::floor(position));
    weight = position - static_cast<double>(low);
  }
  std::nth_element(values.begin(), values.begin() + low, values.end());
  const double value = values[static_cast<std::size_t>(low)];
  if (weight == 0) return value;
  const double next = *std::min_element(values.begin() + low + 1, values.end());
  return value + weight * (next - value);
}

inline void require_numbers(host_view<float> m, std::string_view name) {
  for (index_type i = 0; i < m.size(); ++i)
    if (!std::isfinite(m.data[i]))
      fail(error_category::data, "negood.select.4", "select_by_percentile",
           std::string(name) + " holds NaN or Inf in row " + std::to_string(i / m.cols), "remove such rows");
}

}  // namespace detail

/// Selects the candidates farthest from the ID texts by percentile distance (NegLabel's mining; KR-NFT's index rule).
///
///   key(w) = percentile_p { <e_w, e_n> : n = 1..N },   ascending keys, ties by word (bytewise), then by row.
///
/// `candidates` [M, D] and `id_text` [N, D] hold unit rows, `words` the M words of the rows; the result holds the first
/// `count` (or floor(fraction M)) in ascending order of the key. The matrix [M, N] is never formed: memory is 8 D N
/// bytes for the texts and 8 N for one row. Sums in double, in a fixed order. Throws negood.select.1 on shapes that do
/// not fit, .2 without candidates or ID texts, .3 on options out of range, .4 on NaN or Inf. Released code takes the
/// quantile in half precision on unsorted word sets, so its last places change from run to run. It ranks adjectives and
/// nouns separately: call once for each.
inline std::vector<selected_word> select_by_percentile(host_view<float> candidates, std::span<const std::string> words,
                                                       host_view<float> id_text, const percentile_options& options) {
  constexpr std::string_view where = "select_by_percentile";
  if (candidates.cols != id_text.cols)
    fail(error_category::data, "negood.select.1", where,
         "candidates is " + shape_string(candidates.rows, candidates.cols) + ", id_text is " +
             shape_string(id_text.rows, id_text.cols),
         "widths must match");
  if (static_cast<index_type>(words.size()) != candidates.rows)
    fail(error_category::data, "negood.select.1", where,
         std::to_string(words.size()) + " words for candidates " + shape_string(candidates.rows, candidates.cols),
         "one word is needed for each row");
  if (candidates.rows == 0 || id_text.rows == 0 || id_text.cols == 0)
    fail(error_category::data, "negood.select.2", where,
         candidates.rows == 0 ? "there are no candidates" : "there are no ID texts");
  const bool by_fraction = options.count == 0;
  if (options.count < 0 || (by_fraction && !(options.fraction > 0 && options.fraction <= 1)))
    fail(error_category::usage, "negood.select.3", where, "neither a count nor a fraction in (0, 1] is given",
         "set .count or .fraction");
  if (!(options.percentile >= 0 && options.percentile <= 1))
    fail(error_category::usage, "negood.select.3", where, "the percentile is not in [0, 1]",
         "0.95 is the published one");
  detail::require_numbers(candidates, "candidates");
  detail::require_numbers(id_text, "id_text");

  const auto n = static_cast<std::size_t>(id_text.rows), width = static_cast<std::size_t>(id_text.cols);
  std::vector<double> id_transposed(n * width), row(n);
  for (std::size_t k = 0; k < n; ++k)
    for (std::size_t d = 0; d < width; ++d) id_transposed[d * n + k] = static_cast<double>(id_text.data[k * width + d]);

  std::vector<selected_word> all(static_cast<std::size_t>(candidates.rows));
  for (index_type i = 0; i < candidates.rows; ++i) {
    detail::similarities(candidates.row(i), id_transposed, row);
    all[static_cast<std::size_t>(i)] = {i, detail::percentile_of(row, options.percentile, options.rule)};
  }
  const index_type wanted =
      by_fraction ? detail::largest_count(candidates.rows, options.fraction) : std::min(options.count, candidates.rows);
  const auto before = [&](const selected_word& a, const selected_word& b) {
    if (a.key != b.key) return a.key < b.key;
    const int order = words[static_cast<std::size_t>(a.index)].compare(words[static_cast<std::size_t>(b.index)]);
    return order != 0 ? order < 0 : a.index < b.index;
  };
  std::partial_sort(all.begin(), all.begin() + wanted, all.end(), before);
  all.resize(static_cast<std::size_t>(wanted));
  return all;
}

}  // namespace negood
