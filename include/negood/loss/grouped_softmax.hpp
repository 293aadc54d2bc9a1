/// \file grouped_softmax.hpp  KR-NFT's losses on logits: classes against groups of negative labels.
#pragma once

#include <negood/feature/row_blocks.hpp>

#include <cmath>
#include <span>
#include <vector>

namespace negood {

namespace detail {

/// Exponentials of some columns, their sum, and log-sum-exp.
template <Backend B>
struct segment {
  tensor_t<B> exponential;  ///< e^(z - max), `[rows, columns]`
  tensor_t<B> sum;          ///< `[rows, 1]`
  tensor_t<B> logsumexp;    ///< `[rows, 1]`

  /// softmax o coefficient, with one coefficient a row
  tensor_t<B> scaled(B& ctx, const tensor_t<B>& coefficient) const {
    return ctx.map_rows(element::multiply{}, exponential, ctx.map(element::divide{}, coefficient, sum));
  }
};

template <Backend B>
segment<B> segment_softmax(B& ctx, const tensor_t<B>& z) {
  const auto m = ctx.reduce_rows(reduction::maximum{}, z);
  auto e = ctx.map(element::exp{}, ctx.map_rows(element::subtract{}, z, m));
  auto sum = ctx.reduce_rows(reduction::sum{}, e);
  auto lse = ctx.map(element::add{}, m, ctx.map(element::log{}, sum));
  return {std::move(e), std::move(sum), std::move(lse)};
}

}  // namespace detail

/// Where classes and groups stand among the columns of z: N classes, then G groups of m negatives, then columns that
/// are in no group.
struct grouped_columns {
  index_type classes = 0, groups = 0, group_size = 0, total = 0;
};

/// A row of class y >= 0 is an ID row and takes part in L_p; one of class -1 is an outlier and takes part in L_n. The
/// weight of a row is its share of the loss, 1/R_p or 1/R_n for plain means; other weights give weighted sums (SCT).
struct grouped_rows {
  std::span<const index_type> labels;  ///< `[R]`
  std::span<const double> weights;     ///< `[R]`
};

struct grouped_loss_options {
  double outlier_weight = 0.3;  ///< lambda_1
  double floor = 0;  ///< inside the logarithm of L_n; the released code has 1e-16, 0 is the stable form without it
};

template <Backend B>
struct grouped_loss_value {
  double id = 0;       ///< L_p
  double outlier = 0;  ///< L_n, without lambda_1
  tensor_t<B> dz;      ///< of L_p + lambda_1 L_n, `[R, total]`; zero in columns of no group
};

/// The losses of KR-NFT (Eqs. 7 and 8) with grouped denominators, and their gradient to the logits z `[R, total]`.
///
///     LP = logsumexp_{i < N} z_i,   LN_g = logsumexp_{j in g} z_j,   sigma_g = sigmoid(LP - LN_g)
///     L_p = sum_r w_r mean_g [ LP + softplus(LN_g - LP) - z_y ]
///     L_n = sum_r w_r mean_g log(sigma_g + floor)
///
///     i < N:   dL_p = w [ p_i mean_g sigma_g - [i = y] ],      dL_n = + w p_i mean_g f_g,       p_i = e^(z_i - LP)
///     j in g:  dL_p = (w/G) (1 - sigma_g) e^(z_j - LN_g),      dL_n = - (w/G) f_g e^(z_j - LN_g)
///     f_g = (1 - sigma_g) sigma_g/(sigma_g + floor)
///
/// L_n is minimised and has no lower bound without the floor (log floor with it): it pushes outliers towards negatives
/// for ever, and only the knowledge loss holds it. G = 1 is the paper's softmax over all labels; the released code
/// trains with 10 groups. Without groups (no negatives) L_p is the cross-entropy among the classes. One pass over z, a
/// few rows at a time; sums over rows are in double. \throws error negood.krnft.6 for labels or weights that do not fit
struct grouped_losses_t {
  template <Backend B>
  grouped_loss_value<B> operator()(B& ctx, const tensor_t<B>& z, const grouped_columns& columns,
                                   const grouped_rows& rows, const grouped_loss_options& options) const {
    check(ctx.rows(z), ctx.cols(z), columns, rows);
    if constexpr (overrides<B, grouped_losses_t>)
      return ctx.fused(*this, z, columns, rows, options);
    else
      return generic(ctx, z, columns, rows, options);
  }
  template <Backend B>
  static grouped_loss_value<B> generic(B& ctx, const tensor_t<B>& z, const grouped_columns& columns,
                                       const grouped_rows& rows, const grouped_loss_options& options) {
    using real = real_t<B>;
    const index_type n = columns.classes, groups = columns.groups, m = columns.group_size;
    grouped_loss_value<B> out{0, 0, ctx.zeros(ctx.rows(z), columns.total)};
    host_matrix<double> row_losses(ctx.rows(z), 1);
    detail::for_each_row_block(ctx, ctx.rows(z), [&](B& c, index_type first, index_type count, index_type) {
      host_matrix<real> one_hot(count, n), id_weight(count, 1), outlier_weight(count, 1);
      for (index_type r = 0; r < count; ++r) {
        const auto row = static_cast<std::size_t>(first + r);
        const index_type y = rows.labels[row];
        const double w = rows.weights[row];
        if (y >= 0) one_hot(r, y) = real(1);
        id_weight(r, 0) = static_cast<real>(y >= 0 ? w : 0);
        outlier_weight(r, 0) = static_cast<real>(y >= 0 ? 0 : w * options.outlier_weight);
      }
      const auto target = c.from_host(one_hot.view()), w_id = c.from_host(id_weight.view()),
                 w_outlier = c.from_host(outlier_weight.view());
      const auto id = detail::segment_softmax<B>(c, c.block(z, first, 0, count, n));
      const auto own =
          c.reduce_rows(reduction::sum{}, c.map(element::multiply{}, target, c.block(z, first, 0, count, n)));

      // x_g = LN_g - LP, one column a group
      auto x = c.zeros(count, groups);
      std::vector<detail::segment<B>> negative;
      for (index_type g = 0; g < groups; ++g) {
        negative.push_back(detail::segment_softmax<B>(c, c.block(z, first, n + g * m, count, m)));
        c.paste(x, c.map(element::subtract{}, negative.back().logsumexp, id.logsumexp), 0, g);
      }
      const auto inside = c.map(element::sigmoid{}, c.map(element::scale{-1.0}, x)),
                 outside = c.map(element::sigmoid{}, x);
      auto f = c.clone(outside);
      auto log_inside = c.map(element::scale{-1.0}, c.map(element::softplus{}, x));
      if (options.floor > 0) {
        const auto raised = c.map(element::shift{options.floor}, inside);
        f = c.map(element::multiply{}, outside, c.map(element::divide{}, inside, raised));
        log_inside = c.map(element::log{}, raised);
      }
      const double each = groups > 0 ? 1.0 / static_cast<double>(groups) : 0;
      const auto mean = [&](const tensor_t<B>& a) {
        return c.map(element::scale{each}, c.reduce_rows(reduction::sum{}, a));
      };
      const auto times = [&](const tensor_t<B>& a, const tensor_t<B>& b) { return c.map(element::multiply{}, a, b); };

      const auto loss_id = c.to_host(
          c.map(element::add{}, c.map(element::subtract{}, id.logsumexp, own), mean(c.map(element::softplus{}, x))));
      const auto loss_outlier = c.to_host(mean(log_inside));
      for (index_type r = 0; r < count; ++r) {
        const auto row = static_cast<std::size_t>(first + r);
        row_losses(first + r, 0) =
            rows.weights[row] * double(rows.labels[row] >= 0 ? loss_id(r, 0) : loss_outlier(r, 0));
      }

      // Coefficients of the softmax of the classes, and of that of each group.
      const auto all_inside = groups > 0 ? mean(inside) : c.map(element::shift{1.0}, c.zeros(count, 1));
      const auto on_id = c.map(element::add{}, times(w_id, all_inside), times(w_outlier, mean(f)));
      c.paste(out.dz, c.map(element::subtract{}, id.scaled(c, on_id), c.map_rows(element::multiply{}, target, w_id)),
              first, 0);
      const auto on_groups =
          c.map(element::scale{each}, c.map(element::subtract{}, c.map_rows(element::multiply{}, outside, w_id),
                                            c.map_rows(element::multiply{}, f, w_outlier)));
      for (index_type g = 0; g < groups; ++g)
        c.paste(out.dz, negative[static_cast<std::size_t>(g)].scaled(c, c.block(on_groups, 0, g, count, 1)), first,
                n + g * m);
    });
    for (index_type r = 0; r < ctx.rows(z); ++r)
      (rows.labels[static_cast<std::size_t>(r)] >= 0 ? out.id : out.outlier) += row_losses(r, 0);
    return out;
  }

 private:
  static void check(index_type r, index_type total, const grouped_columns& columns, const grouped_rows& rows) {
    const auto bad = [](std::string what) {
      fail(error_category::data, "negood.krnft.6", "grouped_losses", std::move(what), "one label and weight a row");
    };
    if (columns.total != total || columns.classes + columns.groups * columns.group_size > total)
      bad("z has " + std::to_string(total) + " columns, not " + std::to_string(columns.total));
    if (static_cast<index_type>(rows.labels.size()) != r || static_cast<index_type>(rows.weights.size()) != r)
      bad(std::to_string(r) + " rows, " + std::to_string(rows.labels.size()) + " labels and " +
          std::to_string(rows.weights.size()) + " weights");
    for (const index_type y : rows.labels) {
      if (y < -1 || y >= columns.classes)
        bad("label " + std::to_string(y) + " is not in [-1, " + std::to_string(columns.classes) + ")");
      if (y < 0 && columns.groups == 0) bad("an outlier row without negative labels");
    }
  }
};
inline constexpr grouped_losses_t grouped_losses{};

}  // namespace negood
