/// \file reference.hpp  The reference backend: plain loops, any real type, no overrides. It is the oracle of every
/// other.
#pragma once

#include <negood/backend/concepts.hpp>

#include <algorithm>
#include <numeric>

namespace negood::reference {

template <class Real = double>
class context {
 public:
  using real = Real;
  using tensor = host_matrix<Real>;
  /// A constant matrix; its own type, so that overload resolution is the same as on backends that pack.
  struct frozen {
    tensor values;
  };
  using overrides = override_list<>;

  static constexpr std::string_view name() { return "reference"; }

  tensor from_host(host_view<Real> h) { return tensor(h.rows, h.cols, std::vector<Real>(h.data, h.data + h.size())); }
  host_matrix<Real> to_host(const tensor& t) { return t; }
  tensor zeros(index_type rows, index_type cols) { return tensor(rows, cols); }
  tensor clone(const tensor& t) { return t; }
  index_type rows(const tensor& t) const { return t.rows(); }
  index_type cols(const tensor& t) const { return t.cols(); }
  index_type rows(const frozen& w) const { return w.values.rows(); }
  index_type cols(const frozen& w) const { return w.values.cols(); }

  tensor matmul(const tensor& a, const tensor& b) {
    require_shape(a.cols() == b.rows(), "matmul", "a", a.rows(), a.cols(), "b", b.rows(), b.cols(),
                  "inner sizes must match");
    tensor c(a.rows(), b.cols());
    for (index_type i = 0; i < a.rows(); ++i)
      for (index_type k = 0; k < a.cols(); ++k)
        for (index_type j = 0; j < b.cols(); ++j) c(i, j) += a(i, k) * b(k, j);
    return c;
  }
  tensor matmul_nt(const tensor& a, const tensor& b) {
    require_shape(a.cols() == b.cols(), "matmul_nt", "a", a.rows(), a.cols(), "b", b.rows(), b.cols(),
                  "widths must match");
    tensor c(a.rows(), b.rows());
    for (index_type i = 0; i < a.rows(); ++i)
      for (index_type j = 0; j < b.rows(); ++j) {
        Real total = 0;
        for (index_type k = 0; k < a.cols(); ++k) total += a(i, k) * b(j, k);
        c(i, j) = total;
      }
    return c;
  }
  tensor matmul_tn(const tensor& a, const tensor& b) {
    require_shape(a.rows() == b.rows(), "matmul_tn", "a", a.rows(), a.cols(), "b", b.rows(), b.cols(),
                  "heights must match");
    tensor c(a.cols(), b.cols());
    for (index_type k = 0; k < a.rows(); ++k)
      for (index_type i = 0; i < a.cols(); ++i)
        for (index_type j = 0; j < b.cols(); ++j) c(i, j) += a(k, i) * b(k, j);
    return c;
  }

  frozen freeze(const tensor& w) { return {w}; }
  tensor matmul(const tensor& x, const frozen& w) { return matmul(x, w.values); }
  tensor matmul_nt(const tensor& x, const frozen& w) { return matmul_nt(x, w.values); }

  template <class F>
  tensor map(F f, const tensor& a) {
    tensor out(a.rows(), a.cols());
    for (index_type i = 0; i < a.size(); ++i) out.data()[i] = f(a.data()[i]);
    return out;
  }
  template <class F>
  tensor map(F f, const tensor& a, const tensor& b) {
    require_shape(a.rows() == b.rows() && a.cols() == b.cols(), "map", "a", a.rows(), a.cols(), "b", b.rows(), b.cols(),
                  "shapes must be equal");
    tensor out(a.rows(), a.cols());
    for (index_type i = 0; i < a.size(); ++i) out.data()[i] = f(a.data()[i], b.data()[i]);
    return out;
  }
  template <class F>
  tensor map_rows(F f, const tensor& a, const tensor& v) {
    require_shape(v.rows() == a.rows() && v.cols() == 1, "map_rows", "a", a.rows(), a.cols(), "v", v.rows(), v.cols(),
                  "v must be [rows, 1]");
    tensor out(a.rows(), a.cols());
    for (index_type r = 0; r < a.rows(); ++r)
      for (index_type c = 0; c < a.cols(); ++c) out(r, c) = f(a(r, c), v(r, 0));
    return out;
  }
  template <class F>
  tensor map_cols(F f, const tensor& a, const tensor& v) {
    require_shape(v.cols() == a.cols() && v.rows() == 1, "map_cols", "a", a.rows(), a.cols(), "v", v.rows(), v.cols(),
                  "v must be [1, cols]");
    tensor out(a.rows(), a.cols());
    for (index_type r = 0; r < a.rows(); ++r)
      for (index_type c = 0; c < a.cols(); ++c) out(r, c) = f(a(r, c), v(0, c));
    return out;
  }

  template <class R>
  tensor reduce_rows(R f, const tensor& a) {
    tensor out(a.rows(), 1, R::template identity<Real>());
    for (index_type r = 0; r < a.rows(); ++r)
      for (index_type c = 0; c < a.cols(); ++c) out(r, 0) = f(out(r, 0), a(r, c));
    return out;
  }
  template <class R>
  tensor reduce_cols(R f, const tensor& a) {
    tensor out(1, a.cols(), R::template identity<Real>());
    for (index_type r = 0; r < a.rows(); ++r)
      for (index_type c = 0; c < a.cols(); ++c) out(0, c) = f(out(0, c), a(r, c));
    return out;
  }
  template <class R>
  tensor reduce_all(R f, const tensor& a) {
    Real total = R::template identity<Real>();
    for (index_type i = 0; i < a.size(); ++i) total = f(total, a.data()[i]);
    return tensor(1, 1, total);
  }

  tensor gather_rows(const tensor& a, std::span<const index_type> rows) {
    tensor out(static_cast<index_type>(rows.size()), a.cols());
    for (std::size_t r = 0; r < rows.size(); ++r)
      std::ranges::copy(a.row(rows[r]), out.row(static_cast<index_type>(r)).begin());
    return out;
  }
  void scatter_add_rows(tensor& out, std::span<const index_type> rows, const tensor& a) {
    for (std::size_t r = 0; r < rows.size(); ++r)
      for (index_type c = 0; c < a.cols(); ++c) out(rows[r], c) += a(static_cast<index_type>(r), c);
  }
  tensor block(const tensor& a, index_type r0, index_type c0, index_type rows, index_type cols) {
    tensor out(rows, cols);
    for (index_type r = 0; r < rows; ++r) std::ranges::copy(a.row(r0 + r).subspan(c0, cols), out.row(r).begin());
    return out;
  }
  void paste(tensor& out, const tensor& a, index_type r0, index_type c0) {
    for (index_type r = 0; r < a.rows(); ++r) std::ranges::copy(a.row(r), out.row(r0 + r).subspan(c0).begin());
  }
  top_k_result<Real> top_k(const tensor& a, index_type k) {
    k = std::min(k, a.cols());
    top_k_result<Real> out{tensor(a.rows(), k), host_matrix<index_type>(a.rows(), k)};
    std::vector<index_type> order(static_cast<std::size_t>(a.cols()));
    for (index_type r = 0; r < a.rows(); ++r) {
      std::iota(order.begin(), order.end(), index_type{0});
      std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](index_type i, index_type j) {
        const bool number_i = a(r, i) == a(r, i), number_j = a(r, j) == a(r, j);  // a NaN comes last
        if (number_i != number_j) return number_i;
        return number_i && a(r, i) != a(r, j) ? a(r, i) > a(r, j) : i < j;
      });
      for (index_type j = 0; j < k; ++j) {
        out.indices(r, j) = order[static_cast<std::size_t>(j)];
        out.values(r, j) = a(r, out.indices(r, j));
      }
    }
    return out;
  }

  template <class Task>
  void for_each_task(index_type count, Task&& task) {
    for (index_type i = 0; i < count; ++i) task(*this, i);
  }
  void synchronize() {}
};

}  // namespace negood::reference
