/// \file label_set.hpp  The constant text features that a map transforms, packed once, with groups and teacher.
#pragma once

#include <negood/backend/concepts.hpp>
#include <negood/feature/feature_model.hpp>
#include <negood/feature/row_blocks.hpp>

#include <algorithm>
#include <cmath>
#include <optional>
#include <span>
#include <vector>

namespace negood {

/// Another target for the knowledge loss than C itself: d_i = c_i - tau_i and what the formulas need of it.
template <Backend B>
struct label_teacher {
  tensor_t<B> difference;             ///< d, `[n, D]`
  frozen_t<B> packed_difference;      ///< d
  std::optional<frozen_t<B>> scaled;  ///< d o c; only where the map scales
  tensor_t<B> along;                  ///< <tau_i, d_i>, `[1, n]`
  tensor_t<B> square;                 ///< |d_i|^2, `[1, n]`
};

/// The labels of one partition.
template <Backend B>
struct label_block {
  index_type first = 0, count = 0;    ///< its columns among all labels
  tensor_t<B> c;                      ///< C, `[n, D]`, of any row lengths
  frozen_t<B> packed;                 ///< C
  std::optional<frozen_t<B>> square;  ///< E = C o C; only where the map scales
  tensor_t<B> s2;                     ///< |c_i|^2, `[1, n]`
  double least_s2 = 0;                ///< the smallest of them
  tensor_t<B> teacher_s2;             ///< |tau_i|^2; equal to s2 without a teacher
  tensor_t<B> teacher_length;         ///< |tau_i|
  std::optional<label_teacher<B>> teacher;
};

/// Classes, then negative labels in the order of their groups, then those that are in no group.
template <Backend B>
struct label_set {
  index_type classes = 0, negatives = 0, width = 0;
  index_type groups = 0;      ///< G; 0 without negatives
  index_type group_size = 0;  ///< m = floor(M / G)
  std::vector<label_block<B>> blocks;
  std::vector<index_type> duplicates;  ///< classes whose feature an earlier class has too: never predicted

  index_type total() const { return classes + negatives; }
};

struct label_set_options {
  index_type groups = 1;
  /// Negatives in the order of the groups: a permutation of [0, G floor(M / G)). Empty: as they stand.
  std::span<const index_type> permutation{};
};

namespace detail {

/// The squared length of every row, `[1, rows]`.
template <Backend B>
tensor_t<B> squared_lengths(B& ctx, const tensor_t<B>& a) {
  return column(ctx, row_dots(ctx, a, a));
}
template <Backend B>
tensor_t<B> row_products(B& ctx, const tensor_t<B>& a, const tensor_t<B>& b) {
  return column(ctx, row_dots(ctx, a, b));
}

template <Backend B>
label_block<B> make_label_block(B& ctx, const feature_model& model, index_type first, tensor_t<B> c,
                                const tensor_t<B>* tau) {
  const index_type n = ctx.rows(c);
  auto s2 = squared_lengths(ctx, c);
  const auto lengths = ctx.to_host(s2);
  double least = n > 0 ? static_cast<double>(lengths.data()[0]) : 1;
  for (index_type i = 0; i < n; ++i) {
    const double v = static_cast<double>(lengths.data()[i]);
    if (!(v > 0) || !std::isfinite(v))
      fail(error_category::data, "negood.krnft.4", "label_set",
           "label " + std::to_string(first + i) + " is a row of zeros or not finite", "check the text features");
    least = std::min(least, v);
  }
  auto packed = ctx.freeze(c);
  std::optional<frozen_t<B>> square;
  if (model.scales()) square = ctx.freeze(ctx.map(element::square{}, c));
  auto teacher_s2 = tau ? squared_lengths(ctx, *tau) : ctx.clone(s2);
  auto teacher_length = ctx.map(element::sqrt{}, teacher_s2);
  std::optional<label_teacher<B>> teacher;
  if (tau) {
    auto d = ctx.map(element::subtract{}, c, *tau);
    auto packed_d = ctx.freeze(d);
    std::optional<frozen_t<B>> scaled;
    if (model.scales()) scaled = ctx.freeze(ctx.map(element::multiply{}, d, c));
    auto along = row_products(ctx, *tau, d), d2 = squared_lengths(ctx, d);
    teacher.emplace(
        label_teacher<B>{std::move(d), std::move(packed_d), std::move(scaled), std::move(along), std::move(d2)});
  }
  return {first,         n,     std::move(c),          std::move(packed),         std::move(square),
          std::move(s2), least, std::move(teacher_s2), std::move(teacher_length), std::move(teacher)};
}

}  // namespace detail

/// Packs the text features of classes `[N, D]` and negative labels `[M, D]` (M may be 0) for a model.
///
/// The boundary between the partitions is N, the rows of `classes`. Rows may have any length (TaskRes uses
/// features that are not normalised). The last M mod G negatives belong to no group: they take no part in the
/// losses on logits and in scores, but in the knowledge loss. `teacher_*` is another target for that loss, of the same
/// shapes; empty: C itself. \throws error negood.krnft.4 for rows of zeros, .5 for groups or a permutation that do not
/// fit, negood.shape.2 for widths that differ
template <Backend B>
label_set<B> make_label_set(B& ctx, const feature_model& model, host_view<real_t<B>> classes,
                            host_view<real_t<B>> negatives, const label_set_options& options = {},
                            host_view<real_t<B>> teacher_classes = {}, host_view<real_t<B>> teacher_negatives = {}) {
  using real = real_t<B>;
  constexpr std::string_view where = "label_set";
  if (classes.rows < 1 || classes.cols < 1)
    fail(error_category::data, "negood.krnft.4", where, "there is no class", "give at least one text feature");
  if (negatives.rows > 0)
    require_shape(classes.cols == negatives.cols, where, "classes", classes.rows, classes.cols, "negatives",
                  negatives.rows, negatives.cols, "widths must match");
  if (negatives.rows == 0 && model.partition == label_partition::binary)
    fail(error_category::usage, "negood.krnft.5", where, "a map in two partitions needs negative labels",
         "use a unified model");
  const bool taught = teacher_classes.rows > 0;
  if (taught) {
    require_shape(teacher_classes.rows == classes.rows && teacher_classes.cols == classes.cols, where, "classes",
                  classes.rows, classes.cols, "teacher", teacher_classes.rows, teacher_classes.cols,
                  "one teacher row a label");
    require_shape(
        teacher_negatives.rows == negatives.rows && (negatives.rows == 0 || teacher_negatives.cols == negatives.cols),
        where, "negatives", negatives.rows, negatives.cols, "teacher", teacher_negatives.rows, teacher_negatives.cols,
        "one teacher row a label");
  }
  label_set<B> out;
  out.classes = classes.rows;
  out.negatives = negatives.rows;
  out.width = classes.cols;
  if (out.negatives > 0) {
    if (options.groups < 1 || options.groups > out.negatives)
      fail(error_category::usage, "negood.krnft.5", where,
           std::to_string(options.groups) + " groups cannot be made of " + std::to_string(out.negatives) + " negatives",
           "use between 1 and M groups");
    out.groups = options.groups;
    out.group_size = out.negatives / out.groups;
  }
  const index_type grouped = out.groups * out.group_size;
  std::vector<index_type> order;
  if (!options.permutation.empty()) {
    std::vector<char> seen(static_cast<std::size_t>(grouped));
    bool fits = static_cast<index_type>(options.permutation.size()) == grouped;
    for (const index_type i : options.permutation)
      fits = fits && i >= 0 && i < grouped && !seen[static_cast<std::size_t>(i)]++;
    if (!fits)
      fail(error_category::usage, "negood.krnft.5", where,
           "the permutation is not one of the " + std::to_string(grouped) + " grouped negatives",
           "permute what remains after dropping the last M mod G");
    order.assign(options.permutation.begin(), options.permutation.end());
  }
  for (index_type i = static_cast<index_type>(order.size()); i < out.negatives; ++i) order.push_back(i);

  const auto rows_of = [&](host_view<real> id, host_view<real> negative, bool with_id, bool with_negative) {
    const index_type n = with_id ? id.rows : 0, m = with_negative ? negative.rows : 0;
    host_matrix<real> all(n + m, classes.cols);
    if (n > 0) std::copy_n(id.data, n * id.cols, all.data());
    for (index_type i = 0; i < m; ++i)
      std::ranges::copy(negative.row(order[static_cast<std::size_t>(i)]), all.row(n + i).begin());
    return all;
  };
  const auto add = [&](index_type first, bool with_id, bool with_negative) {
    auto c = ctx.from_host(rows_of(classes, negatives, with_id, with_negative).view());
    if (!taught) {
      out.blocks.push_back(detail::make_label_block<B>(ctx, model, first, std::move(c), nullptr));
      return;
    }
    const auto tau = ctx.from_host(rows_of(teacher_classes, teacher_negatives, with_id, with_negative).view());
    out.blocks.push_back(detail::make_label_block<B>(ctx, model, first, std::move(c), &tau));
  };
  if (model.partition == label_partition::unified) {
    add(0, true, true);
  } else {
    add(0, true, false);
    add(out.classes, false, true);
  }
  // Equal classes are equal whatever the map: the first always wins, and the loss of the others has the floor log 2.
  std::vector<index_type> by_value;
  for (index_type i = 0; i < out.classes; ++i) by_value.push_back(i);
  const auto less = [&](index_type a, index_type b) {
    return std::ranges::lexicographical_compare(classes.row(a), classes.row(b));
  };
  std::stable_sort(by_value.begin(), by_value.end(), less);
  for (std::size_t i = 1; i < by_value.size(); ++i)
    if (!less(by_value[i - 1], by_value[i])) out.duplicates.push_back(by_value[i]);
  std::sort(out.duplicates.begin(), out.duplicates.end());
  return out;
}

}  // namespace negood
