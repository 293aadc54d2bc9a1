/// \file normalise.hpp  Rows of unit length, and the pullback through that.
#pragma once

#include <negood/backend/concepts.hpp>

namespace negood {

/// Unit rows and the lengths they had.
template <Backend B>
struct normalised_rows {
  tensor_t<B> unit;    ///< `[n, d]`
  tensor_t<B> length;  ///< `[n, 1]`
};

/// Divides each row by its length.
///
///     u_i = t_i / |t_i|
///     pullback:  dt_i = (du_i - <du_i, u_i> u_i) / |t_i|
///
/// t `[n, d]`. A zero row gives NaN: rows from outside are checked by `check_features` first (F-04).
struct normalise_rows_t {
  template <Backend B>
  normalised_rows<B> operator()(B& ctx, const tensor_t<B>& t) const {
    auto length = ctx.map(element::sqrt{}, ctx.reduce_rows(reduction::sum{}, ctx.map(element::square{}, t)));
    auto unit = ctx.map_rows(element::divide{}, t, length);
    return {std::move(unit), std::move(length)};
  }
  template <Backend B>
  static tensor_t<B> pullback(B& ctx, const normalised_rows<B>& value, const tensor_t<B>& d_unit) {
    const auto radial = ctx.reduce_rows(reduction::sum{}, ctx.map(element::multiply{}, d_unit, value.unit));
    const auto tangent = ctx.map(element::subtract{}, d_unit, ctx.map_rows(element::multiply{}, value.unit, radial));
    return ctx.map_rows(element::divide{}, tangent, value.length);
  }
};
inline constexpr normalise_rows_t normalise_rows{};

}  // namespace negood
