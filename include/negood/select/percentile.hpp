/// \file percentile.hpp  NegLabel's selection of negative words: far from the ID texts in all but the nearest few.
#pragma once

#include <negood/backend/concepts.hpp>
#include <negood/backend/precision.hpp>
#include <negood/metric/convention.hpp>
#include <negood/select/order_statistic.hpp>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstdint>
#include <string>
#include <utility>
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
    double sum[tile] = {};
    const double* column = id_transposed.data() + first;
    for (const float x : row) {
      for (std::size_t k = 0; k < tile; ++k) sum[k] += static_cast<double>(x) * column[k];
      column += n;
    }
    std::copy(sum, sum + tile, out.begin() + static_cast<std::ptrdiff_t>(first));
  }
  for (; first < n; ++first) {
    double sum = 0;
    for (std::size_t d = 0; d < row.size(); ++d) sum += static_cast<double>(row[d]) * id_transposed[d * n + first];
    out[first] = sum;
  }
}

/// The percentile of N ascending numbers is the one at `low`, and `weight` of the way to the next.
struct percentile_rank {
  index_type low;
  double weight;
};
inline percentile_rank rank_of(index_type n, double percentile, percentile_rule rule) {
  if (rule == percentile_rule::floor_index) return {std::min(largest_count(n, percentile), n - 1), 0};
  const double position = percentile * static_cast<double>(n - 1);
  const auto low = static_cast<index_type>(std::floor(position));
  return {low, position - static_cast<double>(low)};
}

/// Reorders `values`.
inline double percentile_of(std::span<double> values, double percentile, percentile_rule rule) {
  const auto n = static_cast<index_type>(values.size());
  const auto [low, weight] = rank_of(n, percentile, rule);
  std::nth_element(values.begin(), values.begin() + low, values.end());
  const double value = values[static_cast<std::size_t>(low)];
  if (weight == 0) return value;
  const double next = *std::min_element(values.begin() + low + 1, values.end());
  return value + weight * (next - value);
}

/// The first row of `m` from row `first` on, of `count`, that holds a NaN or an infinity; -1 if there is none.
inline index_type row_without_number(host_view<float> m, index_type first, index_type count) {
  for (index_type r = first; r < first + count; ++r) {
    std::uint32_t bad = 0;  // without leaving early, so that it vectorises; exponents of ones only are no numbers
    for (const float v : m.row(r)) bad |= (std::bit_cast<std::uint32_t>(v) & 0x7f800000U) == 0x7f800000U ? 1U : 0U;
    if (bad != 0) return r;
  }
  return -1;
}
[[noreturn]] inline void refuse_row(std::string_view name, index_type row) {
  fail(error_category::data, "negood.select.4", "select_by_percentile",
       std::string(name) + " holds NaN or Inf in row " + std::to_string(row), "remove such rows");
}
inline void require_numbers(host_view<float> m, std::string_view name) {
  if (const index_type r = row_without_number(m, 0, m.rows); r >= 0) refuse_row(name, r);
}

inline void check_percentile_selection(host_view<float> candidates, std::span<const std::string> words,
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
  require_numbers(id_text, "id_text");
}

/// The wanted words of smallest key, in order.
inline std::vector<selected_word> smallest_keys(std::vector<selected_word> all, std::span<const std::string> words,
                                                const percentile_options& options) {
  const bool by_fraction = options.count == 0;
  const index_type wanted = by_fraction ? largest_count(static_cast<index_type>(all.size()), options.fraction)
                                        : std::min(options.count, static_cast<index_type>(all.size()));
  const auto before = [&](const selected_word& a, const selected_word& b) {
    if (a.key != b.key) return a.key < b.key;
    const int order = words[static_cast<std::size_t>(a.index)].compare(words[static_cast<std::size_t>(b.index)]);
    return order != 0 ? order < 0 : a.index < b.index;
  };
  if (wanted < static_cast<index_type>(all.size()))
    std::nth_element(all.begin(), all.begin() + wanted, all.end(), before);
  all.resize(static_cast<std::size_t>(wanted));
  std::ranges::sort(all, before);
  return all;
}

/// What products of unit rows on a backend may be wrong by: D roundings of 2^-24, and what bfloat16 leaves out.
template <Backend B>
double product_tolerance(B& ctx, index_type width) {
  double out = static_cast<double>(width) * 0x1p-23;
  if constexpr (requires { ctx.precision(); }) {
    if (ctx.precision() == precision::bf16x3) out += 0x1p-14;
    if (ctx.precision() == precision::bf16) out += 0x1p-6;
  }
  return out;
}

template <Backend B>
tensor_t<B> upload(B& ctx, host_view<float> m) {
  host_matrix<real_t<B>> out(m.rows, m.cols);
  std::copy(m.data, m.data + m.size(), out.data());
  return ctx.from_host(out.view());
}

/// Dot products whose sums run over the width in order, four side by side: one alone waits for each addition.
struct dot_pair {
  const float *a, *b;
};
inline void ordered_dots(std::span<const dot_pair> pairs, index_type width, std::vector<double>& out) {
  constexpr std::size_t together = 4;
  out.resize(pairs.size());
  for (std::size_t first = 0; first < pairs.size(); first += together) {
    const auto pair = [&](std::size_t k) { return pairs[std::min(first + k, pairs.size() - 1)]; };
    const std::array<dot_pair, together> p{pair(0), pair(1), pair(2), pair(3)};
    std::array<double, together> sums{};
    for (index_type d = 0; d < width; ++d)
      for (std::size_t k = 0; k < together; ++k)
        sums[k] += static_cast<double>(p[k].a[d]) * static_cast<double>(p[k].b[d]);
    for (std::size_t k = 0; k < together && first + k < pairs.size(); ++k) out[first + k] = sums[k];
  }
}

/// Finds the numbers at given ranks of rows of exact similarities, which are known up to a tolerance. What is surely
/// below the number at a rank is counted, what is surely above is ignored, and the few between are summed in double,
/// for many rows at once.
template <class Real>
class exact_ranks {
 public:
  exact_ranks(host_view<float> id_text, double tolerance) : id_text_(id_text), tolerance_(tolerance) {}

  void clear() {
    pairs_.clear();
    asked_.clear();
  }
  /// Asks for the number at `rank` of ascending <row, id_n>; `near` holds them up to the tolerance.
  void ask(std::span<const float> row, std::span<const Real> near, index_type rank) {
    const auto n = static_cast<index_type>(near.size());
    largest_.find(near, n - rank);
    const double middle = static_cast<double>(largest_.value(near, n - rank));
    const double from = middle - 2 * tolerance_, to = middle + 2 * tolerance_;
    // Rounded to Real the lower end may lie above itself: one step down keeps every entry that counts.
    const Real lowest = std::nextafter(static_cast<Real>(from), -std::numeric_limits<Real>::infinity());
    if (largest_.threshold() > lowest) largest_.collect(near, lowest);
    const std::size_t first = pairs_.size();
    index_type not_below = 0;
    for (const std::uint32_t k : largest_.positions()) {
      const double z = static_cast<double>(near[k]);
      if (z < from) continue;
      ++not_below;
      if (z <= to) pairs_.push_back({row.data(), id_text_.row(static_cast<index_type>(k)).data()});
    }
    asked_.push_back({first, pairs_.size() - first, static_cast<std::size_t>(rank - (n - not_below))});
  }
  /// The numbers asked for, in the order of asking.
  std::vector<double> answers() {
    ordered_dots(pairs_, id_text_.cols, sums_);
    std::vector<double> out;
    out.reserve(asked_.size());
    for (const auto& a : asked_) {
      const std::span<double> between(sums_.data() + a.first, a.count);
      std::nth_element(between.begin(), between.begin() + static_cast<std::ptrdiff_t>(a.rank), between.end());
      out.push_back(between[a.rank]);
    }
    return out;
  }

 private:
  struct question {
    std::size_t first, count, rank;
  };
  host_view<float> id_text_;
  double tolerance_;
  largest_entries<Real> largest_;
  std::vector<dot_pair> pairs_;
  std::vector<question> asked_;
  std::vector<double> sums_;
};

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
  detail::check_percentile_selection(candidates, words, id_text, options);
  detail::require_numbers(candidates, "candidates");
  const auto n = static_cast<std::size_t>(id_text.rows), width = static_cast<std::size_t>(id_text.cols);
  std::vector<double> id_transposed(n * width), row(n);
  for (std::size_t k = 0; k < n; ++k)
    for (std::size_t d = 0; d < width; ++d) id_transposed[d * n + k] = static_cast<double>(id_text.data[k * width + d]);

  std::vector<selected_word> all(static_cast<std::size_t>(candidates.rows));
  for (index_type i = 0; i < candidates.rows; ++i) {
    detail::similarities(candidates.row(i), id_transposed, row);
    all[static_cast<std::size_t>(i)] = {i, detail::percentile_of(row, options.percentile, options.rule)};
  }
  return detail::smallest_keys(std::move(all), words, options);
}

/// The same result, bit by bit, through products on a backend: float or bfloat16 similarities find which few of a
/// word's N decide its percentile, and only those are summed in double. Memory: a block of 256 words at a time.
template <Backend B>
std::vector<selected_word> select_by_percentile(B& ctx, host_view<float> candidates, std::span<const std::string> words,
                                                host_view<float> id_text, const percentile_options& options) {
  detail::check_percentile_selection(candidates, words, id_text, options);
  const auto texts = ctx.freeze(detail::upload(ctx, id_text));
  const double tolerance = detail::product_tolerance(ctx, id_text.cols);
  const auto [low, weight] = detail::rank_of(id_text.rows, options.percentile, options.rule);
  std::vector<selected_word> all(static_cast<std::size_t>(candidates.rows));
  constexpr index_type block = 256;
  const index_type blocks = (candidates.rows + block - 1) / block;
  std::vector<index_type> bad(static_cast<std::size_t>(blocks), -1);
  ctx.for_each_task(blocks, [&, low = low, weight = weight](auto& worker, index_type t) {
    const index_type first = t * block, count = std::min(block, candidates.rows - first);
    auto& without_number = bad[static_cast<std::size_t>(t)];
    without_number = detail::row_without_number(candidates, first, count);
    if (without_number >= 0) return;
    const auto near =
        worker.to_host(worker.matmul_nt(detail::upload(worker, candidates.slice_rows(first, count)), texts));
    detail::exact_ranks<real_t<B>> ranks(id_text, tolerance);
    const bool two = weight != 0;
    for (index_type k = 0; k < count; ++k)
      for (index_type next = 0; next < (two ? 2 : 1); ++next)
        ranks.ask(candidates.row(first + k), std::as_const(near).row(k), low + next);
    const auto exact = ranks.answers();
    for (index_type k = 0; k < count; ++k) {
      double key = exact[static_cast<std::size_t>(two ? 2 * k : k)];
      if (two) key += weight * (exact[static_cast<std::size_t>(2 * k + 1)] - key);
      all[static_cast<std::size_t>(first + k)] = {first + k, key};
    }
  });
  for (const index_type r : bad)
    if (r >= 0) detail::refuse_row("candidates", r);
  return detail::smallest_keys(std::move(all), words, options);
}

}  // namespace negood
