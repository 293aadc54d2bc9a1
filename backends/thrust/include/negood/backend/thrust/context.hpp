/// \file context.hpp  The context over one explicit Thrust system: processors in sequence, OpenMP, TBB, or a CUDA
/// device.
///
/// Everything but products and transfers is a kernel of negood/backend/kernels/ run by `thrust::for_each_n`: a named
/// function object, so that nvcc compiles it for the device as g++ does for the processor. Sums are the kernels' own,
/// in one order, because `thrust::reduce` regroups them with the number of threads.
#pragma once

#include <negood/backend/kernels/order.hpp>
#include <negood/backend/kernels/overrides.hpp>
#include <negood/backend/kernels/primitives.hpp>
#include <negood/backend/precision.hpp>
#include <negood/metric/sort_scores.hpp>

#include <algorithm>
#include <atomic>
#include <limits>
#include <memory>
#include <string_view>
#include <utility>
#include <vector>

namespace negood::thrust_backend {

namespace detail {
template <class List, class... More>
struct extended_list;
template <class... Algorithms, class... More>
struct extended_list<override_list<Algorithms...>, More...> {
  using type = override_list<Algorithms..., More...>;
};
}  // namespace detail

/// A row-major `[rows, cols]` matrix in the memory of a system. It moves; `ctx.clone(t)` copies.
template <class System, class Real>
class tensor {
 public:
  using value_type = Real;
  using buffer = typename System::template buffer<Real>;

  tensor() = default;
  tensor(index_type rows, index_type cols, buffer values) : rows_(rows), cols_(cols), values_(std::move(values)) {}
  tensor(tensor&& other) noexcept
      : rows_(std::exchange(other.rows_, 0)), cols_(std::exchange(other.cols_, 0)), values_(std::move(other.values_)) {}
  tensor& operator=(tensor&& other) noexcept {
    rows_ = std::exchange(other.rows_, 0);
    cols_ = std::exchange(other.cols_, 0);
    values_ = std::move(other.values_);
    return *this;
  }
  index_type rows() const noexcept { return rows_; }
  index_type cols() const noexcept { return cols_; }
  index_type size() const noexcept { return rows_ * cols_; }
  Real* data() noexcept { return values_.data(); }
  const Real* data() const noexcept { return values_.data(); }

 private:
  index_type rows_ = 0, cols_ = 0;
  buffer values_;
};

/// One thread of the program uses a context at a time. `System` says where memory lies, how an index space runs and
/// what computes products; see host_system.hpp and cuda_system.hpp.
template <class System, class Real>
class context : public kernel::primitives<context<System, Real>, tensor<System, Real>, Real> {
 public:
  using real = Real;
  using tensor = thrust_backend::tensor<System, Real>;
  using frozen = typename System::template frozen<Real>;
  using options = typename System::options;
  using overrides = typename detail::extended_list<kernel::overrides_by_kernels, sort_scores_t>::type;
  static constexpr bool index_per_element = System::index_per_element;

  explicit context(options o = {}) : options_(o), system_(o), products_(system_, o) {}
  context(context&&) noexcept = default;
  context& operator=(context&&) noexcept = default;

  static constexpr std::string_view name() { return System::name(); }
  /// The arithmetic of products really used.
  negood::precision precision() const noexcept { return products_.precision(); }
  System& system() noexcept { return system_; }

  tensor from_host(host_view<Real> h) {
    tensor out = uninitialised(h.rows, h.cols);
    system_.upload(h.data, h.size(), out.data());
    return out;
  }
  host_matrix<Real> to_host(const tensor& t) {
    host_matrix<Real> out(t.rows(), t.cols());
    system_.download(t.data(), t.size(), out.data());
    return out;
  }
  index_type rows(const tensor& t) const { return t.rows(); }
  index_type cols(const tensor& t) const { return t.cols(); }
  index_type rows(const frozen& w) const { return w.rows(); }
  index_type cols(const frozen& w) const { return w.cols(); }

  tensor matmul(const tensor& a, const tensor& b) {
    require_shape(a.cols() == b.rows(), "matmul", "a", a.rows(), a.cols(), "b", b.rows(), b.cols(),
                  "inner sizes must match");
    return product(a.rows(), b.cols(), a.cols(), a, false, b, false);
  }
  tensor matmul_nt(const tensor& a, const tensor& b) {
    require_shape(a.cols() == b.cols(), "matmul_nt", "a", a.rows(), a.cols(), "b", b.rows(), b.cols(),
                  "widths must match");
    return product(a.rows(), b.rows(), a.cols(), a, false, b, true);
  }
  tensor matmul_tn(const tensor& a, const tensor& b) {
    require_shape(a.rows() == b.rows(), "matmul_tn", "a", a.rows(), a.cols(), "b", b.rows(), b.cols(),
                  "heights must match");
    return product(a.cols(), b.cols(), a.rows(), a, true, b, false);
  }
  frozen freeze(const tensor& w) { return products_.freeze(system_, w.rows(), w.cols(), w.data()); }
  tensor matmul(const tensor& x, const frozen& w) {
    require_shape(x.cols() == w.rows(), "matmul", "x", x.rows(), x.cols(), "w", w.rows(), w.cols(),
                  "inner sizes must match");
    return frozen_product(x, w, w.cols(), false);
  }
  tensor matmul_nt(const tensor& x, const frozen& w) {
    require_shape(x.cols() == w.cols(), "matmul_nt", "x", x.rows(), x.cols(), "w", w.rows(), w.cols(),
                  "widths must match");
    return frozen_product(x, w, w.rows(), true);
  }

  /// Waits: the result lies on the host. With threads for single elements only the k winners are fetched.
  top_k_result<Real> top_k(const tensor& a, index_type k) {
    const index_type n = a.rows(), c = a.cols();
    k = std::clamp<index_type>(k, 0, c);
    top_k_result<Real> out{host_matrix<Real>(n, k), host_matrix<index_type>(n, k)};
    if (n == 0 || k == 0) return out;
    if constexpr (index_per_element) {
      auto values = system_.template allocate<Real>(static_cast<std::size_t>(n * k));
      auto indices = system_.template allocate<index_type>(static_cast<std::size_t>(n * k));
      kernel::for_each_row(*this, n, c, k * c, kernel::top_of_row<Real>{a.data(), c, k, values.data(), indices.data()});
      system_.download(values.data(), n * k, out.values.data());
      system_.download(indices.data(), n * k, out.indices.data());
    } else {
      for (index_type r = 0; r < n; ++r)
        host::top_of_row(a.data() + r * c, c, k, out.values.data() + r * k, out.indices.data() + r * k);
    }
    return out;
  }

  /// On processors tasks run side by side, each on a context of one thread; on a device one after the other.
  template <class Task>
  void for_each_task(index_type count, Task&& task) {
    if constexpr (requires { options_.threads; })
      if (const index_type strands = std::min(count, system_.threads()); strands > 1) {
        options alone = options_;
        alone.threads = 1;
        while (static_cast<index_type>(workers_.size()) < strands) workers_.emplace_back(alone);
        std::atomic<index_type> next = 0;
        system_.for_each_task(strands, [&](index_type strand) {
          for (index_type i; (i = next.fetch_add(1)) < count;) task(workers_[static_cast<std::size_t>(strand)], i);
        });
        return;
      }
    for (index_type i = 0; i < count; ++i) task(*this, i);
  }
  void synchronize() { system_.synchronize(); }

  template <class Algorithm, class... Arguments>
  requires requires(context& ctx, Algorithm a, Arguments&&... args) {
    kernel::run(ctx, a, std::forward<Arguments>(args)...);
  }
  auto fused(Algorithm algorithm, Arguments&&... arguments) {
    return kernel::run(*this, algorithm, std::forward<Arguments>(arguments)...);
  }

  /// The system sorts the keys; what is no finite number is left to the plain form, which names its row.
  sorted_scores<Real> fused(sort_scores_t, const tensor& scores, std::string_view name, score_options how) {
    using key = kernel::key_of<Real>;
    constexpr Real infinity = std::numeric_limits<Real>::infinity();
    const index_type n = scores.rows();
    auto keys = system_.template allocate<key>(static_cast<std::size_t>(n));
    for_each_index(n, 1, kernel::make_key<Real>{scores.data(), keys.data()});
    const auto sorted = system_.sorted(std::move(keys), n);
    auto here = std::make_unique_for_overwrite<key[]>(static_cast<std::size_t>(n) + 1);
    system_.download(sorted.data(), n, here.get());
    if (n > 0 && (here[0] <= kernel::ordered_key(-infinity) ||
                  here[static_cast<std::size_t>(n - 1)] >= kernel::ordered_key(infinity)))
      return sort_scores_t::generic(*this, scores, name, how);
    return sorted_scores<Real>(std::move(here), n);
  }

  // For the kernels.

  tensor uninitialised(index_type rows, index_type cols) {
    const auto size = static_cast<std::size_t>(host::checked_size(rows, cols));
    return tensor(rows, cols, system_.template allocate<Real>(size));
  }
  auto indices(std::vector<index_type> values) { return system_.indices(std::move(values)); }
  auto& attention_ranges() noexcept { return ranges_; }
  template <class Kernel>
  void for_each_index(index_type n, index_type work, const Kernel& kernel) {
    system_.for_each_index(n, work, kernel);
  }
  /// Where the system has teams of lanes.
  template <class Kernel>
  requires requires(System& s, index_type n, const Kernel& k) { s.for_each_row(n, n, k); }
  void for_each_row(index_type n, index_type width, const Kernel& kernel) { system_.for_each_row(n, width, kernel); }

 private:
  tensor product(index_type m, index_type n, index_type k, const tensor& a, bool a_transposed, const tensor& b,
                 bool b_transposed) {
    tensor out = uninitialised(m, n);
    products_.multiply(system_, m, n, k, a.data(), a_transposed, b.data(), b_transposed, out.data());
    return out;
  }
  tensor frozen_product(const tensor& x, const frozen& w, index_type n, bool transposed) {
    tensor out = uninitialised(x.rows(), n);
    products_.multiply(system_, x.rows(), x.data(), w, transposed, out.data());
    return out;
  }

  options options_;
  System system_;
  kernel::range_cache<decltype(std::declval<System&>().indices({}))> ranges_;
  typename System::template products<Real> products_;
  std::vector<context> workers_;  ///< made when tasks are first run side by side
};

}  // namespace negood::thrust_backend
