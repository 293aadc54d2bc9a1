/// \file tensor.hpp  The matrix of the Eigen backend: row-major, aligned, recycled, moved but never silently copied.
#pragma once

#include <negood/backend/host_matrix.hpp>

#include <Eigen/Core>

#include <array>
#include <bit>
#include <cstring>
#include <mutex>
#include <new>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__SANITIZE_ADDRESS__)
#define NEGOOD_EIGEN_RECYCLES_MEMORY 0
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(memory_sanitizer)
#define NEGOOD_EIGEN_RECYCLES_MEMORY 0
#endif
#endif
#ifndef NEGOOD_EIGEN_RECYCLES_MEMORY
#define NEGOOD_EIGEN_RECYCLES_MEMORY 1
#endif

namespace negood::eigen {

namespace detail {

/// Every block is a whole number of cache lines and begins on one.
inline constexpr std::size_t alignment = 64;

/// Keeps freed blocks for the next tensor of about the same size. A training step makes and drops the same few hundred
/// shapes over and over; without this each costs a system call and a page fault per 4 KiB.
class block_cache {
 public:
  static block_cache& instance() {
    static block_cache* cache = new block_cache;  // never destroyed: tensors of static storage may outlive any order
    return *cache;
  }

  /// The size really reserved for `bytes`: a power of two or one and a half of one, so that few sizes exist.
  static std::size_t rounded(std::size_t bytes) {
    if (bytes <= 1024) return (bytes + alignment - 1) / alignment * alignment;
    const std::size_t floor = std::bit_floor(bytes - 1);
    for (const std::size_t eighths : {5u, 6u, 7u})
      if (const std::size_t size = floor / 4 * eighths; bytes <= size && size % alignment == 0) return size;
    return floor * 2;
  }

  void* take(std::size_t size) {
#if NEGOOD_EIGEN_RECYCLES_MEMORY
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      auto& free = bins_[bin(size)];
      for (std::size_t i = free.size(); i-- > 0;)
        if (free[i].size == size) {
          void* p = free[i].pointer;
          free[i] = free.back();
          free.pop_back();
          held_ -= size;
          return p;
        }
    }
#endif
    return ::operator new(size, std::align_val_t(alignment));
  }

  void give(void* p, std::size_t size) noexcept {
#if NEGOOD_EIGEN_RECYCLES_MEMORY
    try {
      const std::lock_guard<std::mutex> lock(mutex_);
      if (held_ + size <= capacity) {
        bins_[bin(size)].push_back({p, size});
        held_ += size;
        return;
      }
    } catch (...) {
      // no memory to remember the block by: free it
    }
#endif
    (void)size;
    ::operator delete(p, std::align_val_t(alignment));
  }

 private:
  static constexpr std::size_t capacity = std::size_t{192} << 20;
  struct block {
    void* pointer;
    std::size_t size;
  };
  static std::size_t bin(std::size_t size) { return static_cast<std::size_t>(std::bit_width(size)); }
  std::mutex mutex_;
  std::array<std::vector<block>, 65> bins_;
  std::size_t held_ = 0;
};

/// Owned, aligned, uninitialised values of a trivial type.
template <class T>
class buffer {
  static_assert(std::is_trivially_copyable_v<T>);

 public:
  buffer() = default;
  explicit buffer(std::size_t count) : count_(count) {
    if (count > (std::size_t{1} << 46) / sizeof(T))
      fail(error_category::resource, "negood.eigen.1", "tensor", std::to_string(count) + " values are too many");
    if (count > 0) {
      bytes_ = block_cache::rounded(count * sizeof(T));
      data_ = static_cast<T*>(block_cache::instance().take(bytes_));
    }
  }
  buffer(buffer&& other) noexcept { swap(other); }
  buffer& operator=(buffer&& other) noexcept {
    buffer taken(std::move(other));
    swap(taken);
    return *this;
  }
  ~buffer() {
    if (data_) block_cache::instance().give(data_, bytes_);
  }
  T* data() noexcept { return data_; }
  const T* data() const noexcept { return data_; }
  std::size_t size() const noexcept { return count_; }
  /// Room for `count` values; what was there is lost when it has to grow.
  T* require(std::size_t count) {
    if (count > count_) *this = buffer(count);
    return data_;
  }

 private:
  void swap(buffer& other) noexcept {
    std::swap(data_, other.data_);
    std::swap(count_, other.count_);
    std::swap(bytes_, other.bytes_);
  }
  T* data_ = nullptr;
  std::size_t count_ = 0, bytes_ = 0;
};

}  // namespace detail

/// A row-major `[rows, cols]` matrix. It moves; `ctx.clone(t)` copies. `t.matrix()` is the same memory as an Eigen map.
template <class Real>
class tensor {
 public:
  using value_type = Real;
  using matrix_type = Eigen::Matrix<Real, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

  tensor() = default;
  /// The values are not initialised.
  tensor(index_type rows, index_type cols)
      : rows_(checked(rows, cols)), cols_(cols), values_(static_cast<std::size_t>(rows * cols)) {}
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
  Real* row(index_type r) noexcept { return data() + r * cols_; }
  const Real* row(index_type r) const noexcept { return data() + r * cols_; }
  Eigen::Map<matrix_type> matrix() noexcept { return {data(), rows_, cols_}; }
  Eigen::Map<const matrix_type> matrix() const noexcept { return {data(), rows_, cols_}; }
  host_view<Real> view() const noexcept { return {data(), rows_, cols_}; }

 private:
  static index_type checked(index_type rows, index_type cols) {
    if (rows < 0 || cols < 0 || (rows > 0 && cols > (index_type{1} << 46) / rows))
      fail(error_category::resource, "negood.eigen.1", "tensor", shape_string(rows, cols) + " is not a possible shape");
    return rows;
  }
  index_type rows_ = 0, cols_ = 0;
  detail::buffer<Real> values_;
};

}  // namespace negood::eigen
