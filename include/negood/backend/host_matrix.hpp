/// \file host_matrix.hpp  The interchange type between backends, files and the user: a row-major matrix in host memory.
#pragma once

#include <negood/error.hpp>

#include <span>
#include <type_traits>
#include <utility>
#include <vector>

namespace negood {

/// A view of a row-major `[rows, cols]` matrix owned by somebody else. A vector is `[n, 1]`, a scalar `[1, 1]`.
template <class T>
struct host_view {
  const T* data = nullptr;
  index_type rows = 0;
  index_type cols = 0;

  host_view() = default;
  host_view(const T* data_, index_type rows_, index_type cols_) : data(data_), rows(rows_), cols(cols_) {}
  host_view(std::span<const T> values, index_type rows_, index_type cols_)
      : data(values.data()), rows(rows_), cols(cols_) {
    if (static_cast<index_type>(values.size()) != rows * cols)
      fail(error_category::data, "negood.shape.1", "host_view",
           std::to_string(values.size()) + " values cannot be viewed as " + shape_string(rows, cols));
  }

  index_type size() const noexcept { return rows * cols; }
  const T& operator()(index_type r, index_type c) const noexcept { return data[r * cols + c]; }
  std::span<const T> row(index_type r) const noexcept { return {data + r * cols, static_cast<std::size_t>(cols)}; }
  std::span<const T> values() const noexcept { return {data, static_cast<std::size_t>(size())}; }
  host_view slice_rows(index_type first, index_type count) const noexcept { return {data + first * cols, count, cols}; }
};

/// A row-major `[rows, cols]` matrix in host memory that owns its values.
template <class T>
class host_matrix {
 public:
  using value_type = T;

  host_matrix() = default;
  host_matrix(index_type rows, index_type cols, T fill = T{})
      : rows_(rows), cols_(cols), values_(static_cast<std::size_t>(rows * cols), fill) {}
  host_matrix(index_type rows, index_type cols, std::vector<T> values)
      : rows_(rows), cols_(cols), values_(std::move(values)) {
    if (static_cast<index_type>(values_.size()) != rows * cols)
      fail(error_category::data, "negood.shape.1", "host_matrix",
           std::to_string(values_.size()) + " values cannot fill " + shape_string(rows, cols));
  }

  index_type rows() const noexcept { return rows_; }
  index_type cols() const noexcept { return cols_; }
  index_type size() const noexcept { return rows_ * cols_; }
  bool empty() const noexcept { return values_.empty(); }
  T* data() noexcept { return values_.data(); }
  const T* data() const noexcept { return values_.data(); }
  T& operator()(index_type r, index_type c) noexcept { return values_[static_cast<std::size_t>(r * cols_ + c)]; }
  const T& operator()(index_type r, index_type c) const noexcept {
    return values_[static_cast<std::size_t>(r * cols_ + c)];
  }
  std::span<T> row(index_type r) noexcept { return {data() + r * cols_, static_cast<std::size_t>(cols_)}; }
  std::span<const T> row(index_type r) const noexcept { return {data() + r * cols_, static_cast<std::size_t>(cols_)}; }
  std::vector<T>& values() & noexcept { return values_; }
  const std::vector<T>& values() const& noexcept { return values_; }
  std::vector<T> values() && noexcept { return std::move(values_); }  // a temporary's values outlive it in a range-for
  host_view<T> view() const noexcept { return {data(), rows_, cols_}; }
  operator host_view<T>() const noexcept { return view(); }

  friend bool operator==(const host_matrix&, const host_matrix&) = default;

 private:
  index_type rows_ = 0;
  index_type cols_ = 0;
  std::vector<T> values_;
};

/// The same values in another real type.
template <class To, class From>
host_matrix<To> cast(host_view<From> m) {
  host_matrix<To> out(m.rows, m.cols);
  for (index_type i = 0; i < m.size(); ++i) out.data()[i] = static_cast<To>(m.data[i]);
  return out;
}
template <class To, class From>
host_matrix<To> cast(const host_matrix<From>& m) {
  return cast<To>(m.view());
}

}  // namespace negood
