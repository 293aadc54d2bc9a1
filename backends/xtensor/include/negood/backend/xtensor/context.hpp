/// \file context.hpp  The context of the xtensor backend: storage is xtensor's, products are xtensor-blas's.
///
/// Element functions and reductions run as kernels over the memory of evaluated arrays, on threads, not as lazy
/// expressions: a lazy reducer that keeps its dimensions reads out of bounds inside a broadcast (xtensor 0.24), and
/// nobody says when a lazy expression is computed.
#pragma once

#include <negood/backend/kernels/overrides.hpp>
#include <negood/backend/kernels/primitives.hpp>
#include <negood/backend/thread_pool.hpp>
#include <negood/backend/xtensor/adapt.hpp>

#include <xtensor-blas/xblas.hpp>

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace negood::xtensor {

struct options {
  index_type threads = 0;  ///< 0: as many as the process may use, see `available_threads`
};

/// Runs on the processor with threads of its own. One thread of the program uses a context at a time.
///
/// A product hands the BLAS blocks of fixed sizes, one block a task: bytes depend neither on the number of threads nor
/// on the other rows, as long as the BLAS gives equal bytes for equal shapes.
template <class Real>
class context : public kernel::primitives<context<Real>, tensor<Real>, Real> {
 public:
  using real = Real;
  using tensor = xtensor::tensor<Real>;
  /// A constant matrix; the BLAS has no form of its own for it.
  struct frozen {
    tensor values;
  };
  using overrides = kernel::overrides_by_kernels;
  static constexpr bool index_per_element = false;

  explicit context(options o = {}) : owned_pool_(std::make_unique<thread_pool>(o.threads)), pool_(owned_pool_.get()) {
    for (index_type i = 0; i < pool_->threads(); ++i)
      workers_.push_back(std::unique_ptr<context>(new context(nullptr)));
  }
  context(context&&) noexcept = default;
  context& operator=(context&&) noexcept = default;

  static constexpr std::string_view name() { return "xtensor"; }
  index_type threads() const noexcept { return pool_ ? pool_->threads() : 1; }

  tensor from_host(host_view<Real> h) {
    tensor out = uninitialised(h.rows, h.cols);
    if (h.size() > 0) std::memcpy(out.data(), h.data, static_cast<std::size_t>(h.size()) * sizeof(Real));
    return out;
  }
  host_matrix<Real> to_host(const tensor& t) {
    return host_matrix<Real>(rows(t), cols(t), std::vector<Real>(t.data(), t.data() + rows(t) * cols(t)));
  }
  index_type rows(const tensor& t) const { return static_cast<index_type>(t.shape(0)); }
  index_type cols(const tensor& t) const { return static_cast<index_type>(t.shape(1)); }
  index_type rows(const frozen& w) const { return rows(w.values); }
  index_type cols(const frozen& w) const { return cols(w.values); }

  tensor matmul(const tensor& a, const tensor& b) {
    require_shape(cols(a) == rows(b), "matmul", "a", rows(a), cols(a), "b", rows(b), cols(b), "inner sizes must match");
    return product({a.data(), cols(a), 1}, rows(a), cols(a), b, cols(b), false);
  }
  tensor matmul_nt(const tensor& a, const tensor& b) {
    require_shape(cols(a) == cols(b), "matmul_nt", "a", rows(a), cols(a), "b", rows(b), cols(b), "widths must match");
    return product({a.data(), cols(a), 1}, rows(a), cols(a), b, rows(b), true);
  }
  tensor matmul_tn(const tensor& a, const tensor& b) {
    require_shape(rows(a) == rows(b), "matmul_tn", "a", rows(a), cols(a), "b", rows(b), cols(b), "heights must match");
    return product({a.data(), 1, cols(a)}, cols(a), rows(a), b, cols(b), false);
  }
  frozen freeze(const tensor& w) { return {this->clone(w)}; }
  tensor matmul(const tensor& x, const frozen& w) { return matmul(x, w.values); }
  tensor matmul_nt(const tensor& x, const frozen& w) { return matmul_nt(x, w.values); }

  top_k_result<Real> top_k(const tensor& a, index_type k) {
    const index_type n = rows(a), c = cols(a);
    k = std::clamp<index_type>(k, 0, c);
    top_k_result<Real> out{host_matrix<Real>(n, k), host_matrix<index_type>(n, k)};
    for_each_index(n, 16 * c, [&](index_type r) {
      host::top_of_row(a.data() + r * c, c, k, out.values.data() + r * k, out.indices.data() + r * k);
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
    const host::one_blas_thread guard;
    pool_->parallel_for(count,
                        [&](index_type worker, index_type i) { task(*workers_[static_cast<std::size_t>(worker)], i); });
  }
  void synchronize() {}

  template <class Algorithm, class... Arguments>
  requires requires(context& ctx, Algorithm a, Arguments&&... args) {
    kernel::run(ctx, a, std::forward<Arguments>(args)...);
  }
  auto fused(Algorithm algorithm, Arguments&&... arguments) {
    return kernel::run(*this, algorithm, std::forward<Arguments>(arguments)...);
  }

  // For the kernels.

  tensor uninitialised(index_type rows, index_type cols) {
    host::checked_size(rows, cols);
    return tensor::from_shape({static_cast<std::size_t>(rows), static_cast<std::size_t>(cols)});
  }
  std::vector<index_type> indices(std::vector<index_type> values) { return values; }
  template <class Kernel>
  void for_each_index(index_type n, index_type work, const Kernel& kernel) {
    constexpr index_type parallel_work = 1 << 15, task_work = 1 << 13;
    const index_type step = std::max<index_type>(1, task_work / std::max<index_type>(work, 1));
    const index_type tasks = (n + step - 1) / step;
    if (!pool_ || tasks < 2 || n * std::max<index_type>(work, 1) < parallel_work) {
      for (index_type i = 0; i < n; ++i) kernel(i);
      return;
    }
    pool_->parallel_for(tasks, [&](index_type, index_type t) {
      for (index_type i = t * step, end = std::min(n, i + step); i < end; ++i) kernel(i);
    });
  }

 private:
  explicit context(std::nullptr_t) {}

  /// a b, or a b' where `transposed`; a is `[m, k]`, the result `[m, n]`.
  tensor product(host::strided<Real> a, index_type m, index_type k, const tensor& b, index_type n, bool transposed) {
    tensor out = uninitialised(m, n);
    const index_type step = std::max<index_type>(1, transposed ? k : n);
    const auto gemm = [&](index_type rows_of_block, const Real* block, Real* to) {
      using size = xt::blas_index_t;
      cxxblas::gemm<size>(cxxblas::StorageOrder::RowMajor, cxxblas::Transpose::NoTrans,
                          transposed ? cxxblas::Transpose::Trans : cxxblas::Transpose::NoTrans,
                          static_cast<size>(rows_of_block), static_cast<size>(n), static_cast<size>(k), Real(1), block,
                          static_cast<size>(k), b.data(), static_cast<size>(step), Real(0), to, static_cast<size>(n));
    };
    const auto run = [&](index_type blocks, auto&& f) {
      if (!pool_) {  // inside a task, whose caller holds the guard
        for (index_type i = 0; i < blocks; ++i) f(i);
        return;
      }
      const host::one_blas_thread guard;
      for_each_index(blocks, 64 * n * k, f);
    };
    host::product_in_blocks(run, m, n, k, a, out.data(), gemm);
    return out;
  }

  std::unique_ptr<thread_pool> owned_pool_;
  thread_pool* pool_ = nullptr;  ///< null in a worker
  std::vector<std::unique_ptr<context>> workers_;
};

}  // namespace negood::xtensor
