/// \file context.hpp  The context of the Eigen backend: the members every backend has.
#pragma once

#include <negood/backend/concepts.hpp>
#include <negood/backend/eigen/frozen.hpp>
#include <negood/backend/eigen/fused.hpp>
#include <negood/backend/eigen/products.hpp>
#include <negood/backend/eigen/reductions.hpp>
#include <negood/backend/eigen/tensor.hpp>
#include <negood/backend/eigen/vector_math.hpp>
#include <negood/backend/precision.hpp>
#include <negood/backend/thread_pool.hpp>

#include <algorithm>
#include <memory>
#include <numeric>
#include <span>
#include <string_view>
#include <vector>

namespace negood::eigen {

struct options {
  index_type threads = 0;                                ///< 0: as many as the process may use, see `available_threads`
  negood::precision precision = negood::precision::f32;  ///< of products in float; a double context always uses double
};

/// Runs on the processor with threads of its own. One thread of the program uses a context at a time.
///
/// Products split rows and columns over the threads, never the sum inside an element, and every element is summed in
/// the same order whatever else is in the matrix: bytes depend neither on the number of threads nor on the other rows.
template <class Real>
class context {
 public:
  using real = Real;
  using tensor = eigen::tensor<Real>;
  using frozen = eigen::frozen<Real>;
  using overrides = fused_algorithms;

  explicit context(options o = {})
      : owned_pool_(std::make_unique<thread_pool>(o.threads)),
        pool_(owned_pool_.get()),
        precision_(supported<Real>(o.precision)) {
    for (index_type i = 0; i < pool_->threads(); ++i)
      workers_.push_back(std::unique_ptr<context>(new context(precision_)));
  }
  context(context&&) noexcept = default;
  context& operator=(context&&) noexcept = default;

  static constexpr std::string_view name() { return "eigen"; }
  index_type threads() const noexcept { return pool_ ? pool_->threads() : 1; }
  /// The arithmetic really used, which is f32 where the processor lacks what was asked for.
  negood::precision precision() const noexcept { return precision_; }

  tensor from_host(host_view<Real> h) { return copy_of(h); }
  host_matrix<Real> to_host(const tensor& t) {
    return host_matrix<Real>(t.rows(), t.cols(), std::vector<Real>(t.data(), t.data() + t.size()));
  }
  tensor zeros(index_type rows, index_type cols) {
    tensor out(rows, cols);
    if (out.size() > 0) std::memset(out.data(), 0, static_cast<std::size_t>(out.size()) * sizeof(Real));
    return out;
  }
  tensor clone(const tensor& t) { return copy_of(t.view()); }
  index_type rows(const tensor& t) const { return t.rows(); }
  index_type cols(const tensor& t) const { return t.cols(); }
  index_type rows(const frozen& w) const { return w.rows(); }
  index_type cols(const frozen& w) const { return w.cols(); }

  tensor matmul(const tensor& a, const tensor& b) {
    require_shape(a.cols() == b.rows(), "matmul", "a", a.rows(), a.cols(), "b", b.rows(), b.cols(),
                  "inner sizes must match");
    return product(a.rows(), b.cols(), a.cols(), {a.data(), a.cols(), 1}, {b.data(), b.cols(), 1});
  }
  tensor matmul_nt(const tensor& a, const tensor& b) {
    require_shape(a.cols() == b.cols(), "matmul_nt", "a", a.rows(), a.cols(), "b", b.rows(), b.cols(),
                  "widths must match");
    return product(a.rows(), b.rows(), a.cols(), {a.data(), a.cols(), 1}, {b.data(), 1, b.cols()});
  }
  tensor matmul_tn(const tensor& a, const tensor& b) {
    require_shape(a.rows() == b.rows(), "matmul_tn", "a", a.rows(), a.cols(), "b", b.rows(), b.cols(),
                  "heights must match");
    return product(a.cols(), b.cols(), a.rows(), {a.data(), 1, a.cols()}, {b.data(), b.cols(), 1});
  }

  frozen freeze(const tensor& w) { return frozen(clone(w), precision_); }
  tensor matmul(const tensor& x, const frozen& w) {
    require_shape(x.cols() == w.rows(), "matmul", "x", x.rows(), x.cols(), "w", w.rows(), w.cols(),
                  "inner sizes must match");
    return frozen_product(x, w, direction::normal, nullptr);
  }
  tensor matmul_nt(const tensor& x, const frozen& w) {
    require_shape(x.cols() == w.cols(), "matmul_nt", "x", x.rows(), x.cols(), "w", w.rows(), w.cols(),
                  "widths must match");
    return frozen_product(x, w, direction::transposed, nullptr);
  }

  template <class F>
  tensor map(F f, const tensor& a) {
    tensor out(a.rows(), a.cols());
    spans(a.size(), [&](index_type first, index_type count) {
      simd::transform<Real>(
          count, out.data() + first, [&](simd::vec<Real> x) { return simd::apply<Real>(f, x); }, a.data() + first);
    });
    return out;
  }
  template <class F>
  tensor map(F f, const tensor& a, const tensor& b) {
    require_shape(a.rows() == b.rows() && a.cols() == b.cols(), "map", "a", a.rows(), a.cols(), "b", b.rows(), b.cols(),
                  "shapes must be equal");
    tensor out(a.rows(), a.cols());
    spans(a.size(), [&](index_type first, index_type count) {
      simd::transform<Real>(
          count, out.data() + first, [&](simd::vec<Real> x, simd::vec<Real> y) { return simd::apply<Real>(f, x, y); },
          a.data() + first, b.data() + first);
    });
    return out;
  }
  template <class F>
  tensor map_rows(F f, const tensor& a, const tensor& v) {
    require_shape(v.rows() == a.rows() && v.cols() == 1, "map_rows", "a", a.rows(), a.cols(), "v", v.rows(), v.cols(),
                  "v must be [rows, 1]");
    tensor out(a.rows(), a.cols());
    each_row(a.rows(), a.cols(), [&](index_type r) {
      const auto y = simd::splat<Real>(v.data()[r]);
      simd::transform<Real>(
          a.cols(), out.row(r), [&](simd::vec<Real> x) { return simd::apply<Real>(f, x, y); }, a.row(r));
    });
    return out;
  }
  template <class F>
  tensor map_cols(F f, const tensor& a, const tensor& v) {
    require_shape(v.cols() == a.cols() && v.rows() == 1, "map_cols", "a", a.rows(), a.cols(), "v", v.rows(), v.cols(),
                  "v must be [1, cols]");
    tensor out(a.rows(), a.cols());
    each_row(a.rows(), a.cols(), [&](index_type r) {
      simd::transform<Real>(
          a.cols(), out.row(r), [&](simd::vec<Real> x, simd::vec<Real> y) { return simd::apply<Real>(f, x, y); },
          a.row(r), v.data());
    });
    return out;
  }

  template <class R>
  tensor reduce_rows(R f, const tensor& a) {
    tensor out(a.rows(), 1);
    each_row(a.rows(), a.cols(), [&](index_type r) { out.data()[r] = detail::reduce(f, a.row(r), a.cols()); });
    return out;
  }
  /// Rows are folded in blocks of fixed height, then the blocks in order.
  template <class R>
  tensor reduce_cols(R f, const tensor& a) {
    const index_type cols = a.cols(), blocks = (a.rows() + rows_per_block - 1) / rows_per_block;
    tensor partial(std::max<index_type>(blocks, 1), cols);
    std::fill(partial.data(), partial.data() + partial.size(), R::template identity<Real>());
    tasks(blocks, a.size() >= parallel_size, [&](index_type, index_type b) {
      const index_type end = std::min(a.rows(), (b + 1) * rows_per_block);
      for (index_type r = b * rows_per_block; r < end; ++r) detail::fold(f, partial.row(b), a.row(r), cols);
    });
    for (index_type b = 1; b < blocks; ++b) detail::fold(f, partial.row(0), partial.row(b), cols);
    if (blocks <= 1) return partial;
    return block(partial, 0, 0, 1, cols);
  }
  template <class R>
  tensor reduce_all(R f, const tensor& a) {
    constexpr index_type length = 1 << 14;
    const index_type blocks = (a.size() + length - 1) / length;
    tensor partial(1, blocks), out(1, 1);
    tasks(blocks, a.size() >= parallel_size, [&](index_type, index_type b) {
      partial.data()[b] = detail::reduce(f, a.data() + b * length, std::min(length, a.size() - b * length));
    });
    out.data()[0] = detail::reduce(f, partial.data(), blocks);
    return out;
  }

  tensor gather_rows(const tensor& a, std::span<const index_type> rows) {
    check_rows("gather_rows", rows, a.rows());
    tensor out(static_cast<index_type>(rows.size()), a.cols());
    each_row(out.rows(), out.cols(),
             [&](index_type r) { copy_row(out.row(r), a.row(rows[static_cast<std::size_t>(r)]), a.cols()); });
    return out;
  }
  void scatter_add_rows(tensor& out, std::span<const index_type> rows, const tensor& a) {
    require_shape(a.cols() == out.cols() && a.rows() == static_cast<index_type>(rows.size()), "scatter_add_rows", "out",
                  out.rows(), out.cols(), "a", a.rows(), a.cols(), "widths must match, and a has a row for each index");
    check_rows("scatter_add_rows", rows, out.rows());
    for (std::size_t r = 0; r < rows.size(); ++r)
      detail::fold(reduction::sum{}, out.row(rows[r]), a.row(static_cast<index_type>(r)), a.cols());
  }
  tensor block(const tensor& a, index_type r0, index_type c0, index_type rows, index_type cols) {
    check_rectangle("block", a, r0, c0, rows, cols);
    tensor out(rows, cols);
    each_row(rows, cols, [&](index_type r) { copy_row(out.row(r), a.row(r0 + r) + c0, cols); });
    return out;
  }
  void paste(tensor& out, const tensor& a, index_type r0, index_type c0) {
    check_rectangle("paste", out, r0, c0, a.rows(), a.cols());
    each_row(a.rows(), a.cols(), [&](index_type r) { copy_row(out.row(r0 + r) + c0, a.row(r), a.cols()); });
  }
  top_k_result<Real> top_k(const tensor& a, index_type k) {
    k = std::clamp<index_type>(k, 0, a.cols());
    top_k_result<Real> out{host_matrix<Real>(a.rows(), k), host_matrix<index_type>(a.rows(), k)};
    each_row(a.rows(), 16 * a.cols(), [&](index_type r) {
      detail::top_of_row(a.row(r), a.cols(), k, out.values.data() + r * k, out.indices.data() + r * k);
    });
    return out;
  }

  /// Runs f(worker, i) for i in [0, n) on the threads; inside, the worker context computes without further threads.
  template <class Task>
  void for_each_task(index_type count, Task&& task) {
    if (!pool_ || pool_->threads() == 1 || pool_->inside()) {
      for (index_type i = 0; i < count; ++i) task(*this, i);
      return;
    }
    pool_->parallel_for(count,
                        [&](index_type worker, index_type i) { task(*workers_[static_cast<std::size_t>(worker)], i); });
  }
  void synchronize() {}

  /// The algorithms of `overrides` in one pass; see fused.hpp.
  template <class Algorithm, class... Arguments>
  requires requires(context& ctx, Algorithm a, Arguments&&... args) {
    run_fused(ctx, a, std::forward<Arguments>(args)...);
  }
  auto fused(Algorithm algorithm, Arguments&&... arguments) {
    return run_fused(*this, algorithm, std::forward<Arguments>(arguments)...);
  }

  // For the fused algorithms.

  /// f(worker, i) for i in [0, n), over the threads if `large`.
  template <class F>
  void tasks(index_type n, bool large, F&& f) {
    if (pool_ && large && n > 1 && pool_->threads() > 1)
      pool_->parallel_for(n, f);
    else
      for (index_type i = 0; i < n; ++i) f(index_type{0}, i);
  }
  /// f(r) for every row.
  template <class F>
  void each_row(index_type rows, index_type cols, F&& f) {
    const index_type step = std::max<index_type>(1, (index_type{1} << 13) / std::max<index_type>(cols, 1));
    tasks((rows + step - 1) / step, rows * cols >= parallel_size, [&](index_type, index_type t) {
      for (index_type r = t * step, end = std::min(rows, r + step); r < end; ++r) f(r);
    });
  }
  /// f(first, count) for spans that cover [0, n) and begin on whole vectors.
  template <class F>
  void spans(index_type n, F&& f) {
    constexpr index_type length = 1 << 13;
    tasks((n + length - 1) / length, n >= parallel_size,
          [&](index_type, index_type b) { f(b * length, std::min(length, n - b * length)); });
  }
  /// x W or x W', plus a bias row if there is one.
  tensor frozen_product(const tensor& x, const frozen& w, direction way, const Real* bias) {
    const index_type n = way == direction::normal ? w.cols() : w.rows();
    tensor out(x.rows(), n);
    const auto run = [this](index_type count, auto&& f) { this->tasks(count, true, f); };
    w.multiply(run, threads(), way, x.rows(), x.data(), bias, out.data());
    return out;
  }

 private:
  static constexpr index_type rows_per_block = 64;
  /// Below this many elements waking the other threads costs more than it saves.
  static constexpr index_type parallel_size = 1 << 15;

  explicit context(negood::precision p) : precision_(p) {}

  tensor product(index_type m, index_type n, index_type k, detail::strided<Real> a, detail::strided<Real> b) {
    tensor out(m, n);
    const auto run = [this](index_type count, auto&& f) { this->tasks(count, true, f); };
    detail::multiply(run, threads(), precision_, m, n, k, a, b, out.data());
    return out;
  }

  static tensor copy_of(host_view<Real> h) {
    tensor out(h.rows, h.cols);
    copy_row(out.data(), h.data, h.size());
    return out;
  }
  static void copy_row(Real* to, const Real* from, index_type n) {
    if (n > 0) std::memcpy(to, from, static_cast<std::size_t>(n) * sizeof(Real));
  }
  static void check_rows(std::string_view where, std::span<const index_type> rows, index_type limit) {
    for (const index_type r : rows)
      if (r < 0 || r >= limit)
        fail(error_category::data, "negood.eigen.2", where,
             "row " + std::to_string(r) + " of a matrix of " + std::to_string(limit) + " rows");
  }
  static void check_rectangle(std::string_view where, const tensor& a, index_type r0, index_type c0, index_type rows,
                              index_type cols) {
    if (r0 < 0 || c0 < 0 || rows < 0 || cols < 0 || r0 + rows > a.rows() || c0 + cols > a.cols())
      fail(error_category::data, "negood.eigen.3", where,
           shape_string(rows, cols) + " at " + shape_string(r0, c0) + " does not lie in " +
               shape_string(a.rows(), a.cols()));
  }

  std::unique_ptr<thread_pool> owned_pool_;
  thread_pool* pool_ = nullptr;  ///< null in a worker
  std::vector<std::unique_ptr<context>> workers_;
  negood::precision precision_;
};

}  // namespace negood::eigen
