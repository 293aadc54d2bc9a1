/// \file host_system.hpp  A Thrust system on the processor: memory, index spaces, and products.
///
/// Thrust has no matrix product. Products are those of the Eigen backend (oneDNN where it is found), in its blocks, run
/// on this system's threads: their bytes equal that backend's.
#pragma once

#include <negood/backend/eigen/frozen.hpp>
#include <negood/backend/eigen/products.hpp>
#include <negood/backend/thrust/context.hpp>

#include <thrust/for_each.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/sort.h>
#include <thrust/system/cpp/execution_policy.h>

#include <exception>
#include <mutex>

namespace negood::thrust_backend {

struct host_options {
  index_type threads = 0;  ///< 0: as many as the process may use; the sequential system has one
  negood::precision precision = negood::precision::f32;
};

namespace detail {

/// A run of indices, so that a compiler sees a loop and a thread gets more than one multiplication.
template <class Kernel>
struct index_range {
  const Kernel* kernel;
  index_type n, step;
  void operator()(index_type task) const {
    const index_type first = task * step, end = first + step < n ? first + step : n;
    for (index_type i = first; i < end; ++i) (*kernel)(i);
  }
};

/// Thrust's parallel loops may not throw: the first exception is kept and thrown again behind the loop.
template <class F>
class guarded_call {
 public:
  explicit guarded_call(F& f) : f_(f) {}
  void operator()(index_type i) const {
    try {
      f_(i);
    } catch (...) {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (!error_) error_ = std::current_exception();
    }
  }
  void rethrow() const {
    if (error_) std::rethrow_exception(error_);
  }

 private:
  F& f_;
  mutable std::mutex mutex_;
  mutable std::exception_ptr error_;
};

}  // namespace detail

/// Products of the Eigen component on the threads of a system.
template <class Real>
class host_products {
 public:
  using frozen = eigen::frozen<Real>;

  template <class System>
  host_products(System&, const host_options& o) : precision_(eigen::supported<Real>(o.precision)) {}
  negood::precision precision() const noexcept { return precision_; }

  template <class System>
  void multiply(System& system, index_type m, index_type n, index_type k, const Real* a, bool a_transposed,
                const Real* b, bool b_transposed, Real* c) {
    using eigen::detail::strided;
    const strided<Real> left = a_transposed ? strided<Real>{a, 1, m} : strided<Real>{a, k, 1};
    const strided<Real> right = b_transposed ? strided<Real>{b, 1, k} : strided<Real>{b, n, 1};
    eigen::detail::multiply(tasks_of(system), system.threads(), precision_, m, n, k, left, right, c);
  }
  template <class System>
  frozen freeze(System&, index_type rows, index_type cols, const Real* values) {
    eigen::tensor<Real> copy(rows, cols);
    std::copy_n(values, rows * cols, copy.data());
    return frozen(std::move(copy), precision_);
  }
  template <class System>
  void multiply(System& system, index_type m, const Real* x, const frozen& w, bool transposed, Real* out) {
    w.multiply(tasks_of(system), system.threads(), transposed ? eigen::direction::transposed : eigen::direction::normal,
               m, x, static_cast<const Real*>(nullptr), out);
  }

 private:
  template <class System>
  static auto tasks_of(System& system) {
    return [&system](index_type count, auto&& f) {
      system.for_each_task(count, [&](index_type i) { f(index_type{0}, i); });
    };
  }
  negood::precision precision_;
};

/// `Runner` has threads(), run(count, f), which is f(i) for i in [0, count), and sort(first, last), by its Thrust
/// system.
template <class Runner>
class host_system {
 public:
  using options = host_options;
  template <class T>
  using buffer = eigen::detail::buffer<T>;
  template <class Real>
  using frozen = eigen::frozen<Real>;
  template <class Real>
  using products = host_products<Real>;
  static constexpr bool index_per_element = false;

  explicit host_system(const options& o) : runner_(o.threads) {}
  static constexpr std::string_view name() { return Runner::name; }
  index_type threads() const { return runner_.threads(); }

  template <class T>
  buffer<T> allocate(std::size_t count) {
    return buffer<T>(count);
  }
  std::vector<index_type> indices(std::vector<index_type> values) { return values; }
  template <class T>
  void upload(const T* from, index_type count, T* to) {
    std::copy_n(from, count, to);
  }
  template <class T>
  void download(const T* from, index_type count, T* to) {
    std::copy_n(from, count, to);
  }
  void synchronize() {}

  template <class Kernel>
  void for_each_index(index_type n, index_type work, const Kernel& kernel) {
    constexpr index_type parallel_work = 1 << 15, task_work = 1 << 13;
    const index_type step = std::max<index_type>(1, task_work / std::max<index_type>(work, 1));
    const index_type tasks = (n + step - 1) / step;
    const detail::index_range<Kernel> range{&kernel, n, step};
    if (tasks < 2 || n * std::max<index_type>(work, 1) < parallel_work)
      ::thrust::for_each_n(::thrust::cpp::par, ::thrust::counting_iterator<index_type>(0), tasks, range);
    else
      runner_.run(tasks, range);
  }
  /// The keys in ascending order, by thrust::sort.
  template <class Key>
  buffer<Key> sorted(buffer<Key> keys, index_type n) {
    runner_.sort(keys.data(), keys.data() + n);
    return keys;
  }
  /// f(i) for a few large tasks; what one of them throws is thrown again.
  template <class F>
  void for_each_task(index_type count, F&& f) {
    using call = detail::guarded_call<std::remove_reference_t<F>>;
    const call guarded(f);
    runner_.run(count, detail::index_range<call>{&guarded, count, 1});
    guarded.rethrow();
  }

 private:
  Runner runner_;
};

}  // namespace negood::thrust_backend
