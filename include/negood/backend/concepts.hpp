/// \file concepts.hpp  What a backend is: one class with the members below, and a list of what it fuses.
///
/// A backend `B` is a context: it owns threads, streams and scratch memory, and every algorithm takes it first.
/// `tensor` is a row-major `[rows, cols]` matrix; a vector is `[n, 1]`, a scalar `[1, 1]`. Algorithms never copy a
/// tensor with `=` (an Eigen matrix copies, an ATen tensor aliases): `ctx.clone(t)` copies, moving moves. Only
/// `to_host` and `synchronize` block; everything else may return before it is finished.
#pragma once

#include <negood/backend/element.hpp>
#include <negood/backend/host_matrix.hpp>

#include <concepts>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

namespace negood {

/// The algorithms a backend replaces by a fused version, as `using overrides = override_list<logsumexp_rows_t, ...>`.
template <class... Algorithms>
struct override_list {};

namespace detail {
template <class List, class Algorithm>
inline constexpr bool list_contains = false;
template <class... As, class Algorithm>
inline constexpr bool list_contains<override_list<As...>, Algorithm> = (std::same_as<As, Algorithm> || ...);
}  // namespace detail

/// True if `B` declares its own version of `Algorithm`; it must then accept `ctx.fused(Algorithm{}, arguments...)`.
template <class B, class Algorithm>
inline constexpr bool overrides = detail::list_contains<typename B::overrides, Algorithm>;

template <class B>
using tensor_t = typename B::tensor;
template <class B>
using frozen_t = typename B::frozen;
template <class B>
using real_t = typename B::real;

/// The k largest entries of each row, largest first; equal values are ordered by index.
template <class T>
struct top_k_result {
  host_matrix<T> values;
  host_matrix<index_type> indices;
};

namespace requirement {

template <class B>
concept types = requires {
  typename B::real;
  typename B::tensor;
  typename B::frozen;
  typename B::overrides;
};
template <class B>
concept storage = types<B> && std::movable<typename B::tensor> &&
    requires(B& ctx, const typename B::tensor& t, host_view<typename B::real> h, index_type n) {
  { B::name() } -> std::convertible_to<std::string_view>;
  { ctx.from_host(h) } -> std::same_as<typename B::tensor>;
  { ctx.to_host(t) } -> std::same_as<host_matrix<typename B::real>>;
  { ctx.zeros(n, n) } -> std::same_as<typename B::tensor>;
  { ctx.clone(t) } -> std::same_as<typename B::tensor>;
  { ctx.rows(t) } -> std::convertible_to<index_type>;
  { ctx.cols(t) } -> std::convertible_to<index_type>;
};
template <class B>
concept products = types<B> && requires(B& ctx, const typename B::tensor& a) {
  { ctx.matmul(a, a) } -> std::same_as<typename B::tensor>;
  { ctx.matmul_nt(a, a) } -> std::same_as<typename B::tensor>;
  { ctx.matmul_tn(a, a) } -> std::same_as<typename B::tensor>;
};
template <class B>
concept frozen_products = types<B> && requires(B& ctx, const typename B::tensor& a, const typename B::frozen& w) {
  { ctx.freeze(a) } -> std::same_as<typename B::frozen>;
  { ctx.matmul(a, w) } -> std::same_as<typename B::tensor>;
  { ctx.matmul_nt(a, w) } -> std::same_as<typename B::tensor>;
  { ctx.rows(w) } -> std::convertible_to<index_type>;
  { ctx.cols(w) } -> std::convertible_to<index_type>;
};
template <class B>
concept maps = types<B> && requires(B& ctx, const typename B::tensor& a) {
  { ctx.map(element::exp{}, a) } -> std::same_as<typename B::tensor>;
  { ctx.map(element::add{}, a, a) } -> std::same_as<typename B::tensor>;
  { ctx.map_rows(element::multiply{}, a, a) } -> std::same_as<typename B::tensor>;
  { ctx.map_cols(element::add{}, a, a) } -> std::same_as<typename B::tensor>;
};
template <class B>
concept reductions = types<B> && requires(B& ctx, const typename B::tensor& a) {
  { ctx.reduce_rows(reduction::sum{}, a) } -> std::same_as<typename B::tensor>;
  { ctx.reduce_cols(reduction::sum{}, a) } -> std::same_as<typename B::tensor>;
  { ctx.reduce_all(reduction::maximum{}, a) } -> std::same_as<typename B::tensor>;
};
template <class B>
concept movement = types<B> && requires(B& ctx, typename B::tensor& out, const typename B::tensor& a,
                                        std::span<const index_type> rows, index_type n) {
  { ctx.gather_rows(a, rows) } -> std::same_as<typename B::tensor>;
  ctx.scatter_add_rows(out, rows, a);
  { ctx.block(a, n, n, n, n) } -> std::same_as<typename B::tensor>;
  ctx.paste(out, a, n, n);
  { ctx.top_k(a, n) } -> std::same_as<top_k_result<typename B::real>>;
};
template <class B>
concept execution = types<B> && requires(B& ctx, void (*task)(B&, index_type), index_type n) {
  ctx.for_each_task(n, task);
  ctx.synchronize();
};

}  // namespace requirement

/// A class that models a backend. In words, beyond what the compiler checks:
///
/// | member | meaning |
/// |---|---|
/// | `from_host(h)`, `to_host(t)` | copies in and out; `to_host` waits |
/// | `zeros(r, c)`, `clone(t)`, `rows(t)`, `cols(t)` | storage |
/// | `matmul(a, b)`, `matmul_nt(a, b)`, `matmul_tn(a, b)` | A B, A B', A' B |
/// | `freeze(w)` | packs a constant matrix once; then `matmul(x, w)` = X W and `matmul_nt(x, w)` = X W' |
/// | `map(f, a)`, `map(f, a, b)` | element functions, equal shapes |
/// | `map_rows(f, a, v)` | f(a_ij, v_i), v is `[rows, 1]` |
/// | `map_cols(f, a, v)` | f(a_ij, v_j), v is `[1, cols]` |
/// | `reduce_rows`, `reduce_cols`, `reduce_all` | `[rows, 1]`, `[1, cols]`, `[1, 1]` |
/// | `gather_rows(a, i)` | rows a[i_0], a[i_1], ... |
/// | `scatter_add_rows(out, i, a)` | out[i_r] += a[r], in the order of r |
/// | `block(a, r0, c0, r, c)`, `paste(out, a, r0, c0)` | copies a rectangle out, in |
/// | `top_k(a, k)` | the k largest of each row, on the host |
/// | `for_each_task(n, f)` | f(worker, i) for i in [0, n), perhaps at once; a task writes only its own results |
/// | `synchronize()` | returns when all work is done |
///
/// The same inputs give the same bytes for any number of threads, and a row of a product does not depend on the other
/// rows.
template <class B>
concept Backend =
    requirement::types<B> && requirement::storage<B> && requirement::products<B> && requirement::frozen_products<B> &&
    requirement::maps<B> && requirement::reductions<B> && requirement::movement<B> && requirement::execution<B>;

/// Says in one sentence per missing requirement what a class lacks to be a backend; use it in a `static_assert`-free
/// line `negood::check_backend<my_context>();` next to the class.
template <class B>
constexpr bool check_backend() {
  static_assert(requirement::types<B>, "negood: a backend must name the types real, tensor, frozen and overrides");
  static_assert(
      requirement::storage<B>,
      "negood: a backend must have name, from_host, to_host, zeros, clone, rows and cols, and a movable tensor");
  static_assert(requirement::products<B>, "negood: a backend must have matmul, matmul_nt and matmul_tn on two tensors");
  static_assert(requirement::frozen_products<B>,
                "negood: a backend must have freeze, and matmul and matmul_nt of a tensor with a frozen matrix");
  static_assert(requirement::maps<B>, "negood: a backend must have map (one and two tensors), map_rows and map_cols");
  static_assert(requirement::reductions<B>, "negood: a backend must have reduce_rows, reduce_cols and reduce_all");
  static_assert(requirement::movement<B>,
                "negood: a backend must have gather_rows, scatter_add_rows, block, paste and top_k");
  static_assert(requirement::execution<B>, "negood: a backend must have for_each_task and synchronize");
  return Backend<B>;
}

/// Refuses two shapes that should agree, naming both.
inline void require_shape(bool holds, std::string_view where, std::string_view left, index_type left_rows,
                          index_type left_cols, std::string_view right, index_type right_rows, index_type right_cols,
                          std::string_view hint) {
  if (holds) return;
  fail(error_category::data, "negood.shape.2", where,
       std::string(left) + " is " + shape_string(left_rows, left_cols) + ", " + std::string(right) + " is " +
           shape_string(right_rows, right_cols),
       hint);
}

/// The value of a `[1, 1]` tensor.
template <Backend B>
real_t<B> scalar_value(B& ctx, const tensor_t<B>& t) {
  return ctx.to_host(t)(0, 0);
}

}  // namespace negood
