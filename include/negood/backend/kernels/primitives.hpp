/// \file primitives.hpp  Maps, reductions and movement for a backend that can run a kernel over an index space.
#pragma once

#include <negood/backend/concepts.hpp>
#include <negood/backend/host_support.hpp>
#include <negood/backend/kernels/rows.hpp>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <span>
#include <utility>
#include <vector>

namespace negood::kernel {

template <class T, class F>
struct map_one {
  F f;
  const T* a;
  T* out;
  NEGOOD_HD void operator()(index_type i) const { out[i] = f(a[i]); }
};
template <class T, class F>
struct map_two {
  F f;
  const T *a, *b;
  T* out;
  NEGOOD_HD void operator()(index_type i) const { out[i] = f(a[i], b[i]); }
};
/// f(a_ij, v_i)
template <class T, class F>
struct map_with_column {
  F f;
  const T *a, *v;
  index_type cols;
  T* out;
  NEGOOD_HD void operator()(index_type r, index_type c) const { out[r * cols + c] = f(a[r * cols + c], v[r]); }
};
/// f(a_ij, v_j)
template <class T, class F>
struct map_with_row {
  F f;
  const T *a, *v;
  index_type cols;
  T* out;
  NEGOOD_HD void operator()(index_type r, index_type c) const { out[r * cols + c] = f(a[r * cols + c], v[c]); }
};
template <class T>
struct fill {
  T value;
  T* out;
  NEGOOD_HD void operator()(index_type i) const { out[i] = value; }
};
template <class T>
struct gather_element {
  const T* a;
  const index_type* rows;
  index_type cols;
  T* out;
  NEGOOD_HD void operator()(index_type r, index_type c) const { out[r * cols + c] = a[rows[r] * cols + c]; }
};
/// A rectangle from one place to another.
template <class T>
struct copy_element {
  const T* from;
  index_type from_step;
  T* to;
  index_type to_step;
  NEGOOD_HD void operator()(index_type r, index_type c) const { to[r * to_step + c] = from[r * from_step + c]; }
};
/// out[rows[r], c] += a[r, c] for all r in order, for one group of columns.
template <class T>
struct scatter_columns {
  static constexpr index_type group = 16;
  const T* a;
  const index_type* rows;
  index_type count, cols;
  T* out;
  NEGOOD_HD void operator()(index_type g) const {
    const index_type c0 = g * group, c1 = c0 + group < cols ? c0 + group : cols;
    for (index_type r = 0; r < count; ++r)
      for (index_type c = c0; c < c1; ++c) out[rows[r] * cols + c] += a[r * cols + c];
  }
};
/// The same, one row of `out` and one column for each index: row targets[g] gets the rows order[starts[g]], ... of a,
/// in order.
template <class T>
struct scatter_element {
  const T* a;
  const index_type *targets, *starts, *order;
  index_type cols;
  T* out;
  NEGOOD_HD void operator()(index_type g, index_type c) const {
    T* const to = out + targets[g] * cols + c;
    T sum = *to;
    for (index_type i = starts[g]; i < starts[g + 1]; ++i) sum += a[order[i] * cols + c];
    *to = sum;
  }
};
/// Who adds to which row, as one array [targets | starts | order].
struct scatter_groups {
  std::vector<index_type> values;
  index_type groups = 0;

  explicit scatter_groups(std::span<const index_type> rows) {
    std::vector<index_type> order(rows.size()), starts;
    std::iota(order.begin(), order.end(), index_type{0});
    const auto row = [&](index_type i) { return rows[static_cast<std::size_t>(i)]; };
    if (!std::is_sorted(rows.begin(), rows.end()))
      std::stable_sort(order.begin(), order.end(), [&](index_type i, index_type j) { return row(i) < row(j); });
    for (index_type i = 0; i < static_cast<index_type>(order.size()); ++i) {
      const index_type target = row(order[static_cast<std::size_t>(i)]);
      if (!values.empty() && values.back() == target) continue;
      values.push_back(target);
      starts.push_back(i);
    }
    groups = static_cast<index_type>(values.size());
    starts.push_back(static_cast<index_type>(order.size()));
    values.insert(values.end(), starts.begin(), starts.end());
    values.insert(values.end(), order.begin(), order.end());
  }
};

/// An index is a row, for processors, or an element, for devices with thousands of threads.
template <class F>
struct by_row {
  F f;
  index_type cols;
  NEGOOD_HD void operator()(index_type r) const {
    for (index_type c = 0; c < cols; ++c) f(r, c);
  }
};
template <class F>
struct by_element {
  F f;
  index_type cols;
  NEGOOD_HD void operator()(index_type i) const {
    if (i < (index_type{1} << 32)) {  // a device divides 32 bits much faster than 64
      const auto small = static_cast<std::uint32_t>(i), width = static_cast<std::uint32_t>(cols);
      f(small / width, small % width);
    } else {
      f(i / cols, i % cols);
    }
  }
};

/// The members of a backend that are kernels. `Derived` offers `uninitialised`, `for_each_index` and `indices` (see
/// overrides.hpp) and `static constexpr bool index_per_element`.
template <class Derived, class Tensor, class Real>
class primitives {
 public:
  Tensor zeros(index_type rows, index_type cols) {
    Tensor out = self().uninitialised(rows, cols);
    each(rows * cols, 1, fill<Real>{Real(0), out.data()});
    return out;
  }
  Tensor clone(const Tensor& t) { return copied(t, 0, 0, rows(t), cols(t)); }

  template <class F>
  Tensor map(F f, const Tensor& a) {
    Tensor out = self().uninitialised(rows(a), cols(a));
    each(size(a), element_work, map_one<Real, F>{f, a.data(), out.data()});
    return out;
  }
  template <class F>
  Tensor map(F f, const Tensor& a, const Tensor& b) {
    require_shape(rows(a) == rows(b) && cols(a) == cols(b), "map", "a", rows(a), cols(a), "b", rows(b), cols(b),
                  "shapes must be equal");
    Tensor out = self().uninitialised(rows(a), cols(a));
    each(size(a), 1, map_two<Real, F>{f, a.data(), b.data(), out.data()});
    return out;
  }
  template <class F>
  Tensor map_rows(F f, const Tensor& a, const Tensor& v) {
    require_shape(rows(v) == rows(a) && cols(v) == 1, "map_rows", "a", rows(a), cols(a), "v", rows(v), cols(v),
                  "v must be [rows, 1]");
    Tensor out = self().uninitialised(rows(a), cols(a));
    each_element(rows(a), cols(a), map_with_column<Real, F>{f, a.data(), v.data(), cols(a), out.data()});
    return out;
  }
  template <class F>
  Tensor map_cols(F f, const Tensor& a, const Tensor& v) {
    require_shape(cols(v) == cols(a) && rows(v) == 1, "map_cols", "a", rows(a), cols(a), "v", rows(v), cols(v),
                  "v must be [1, cols]");
    Tensor out = self().uninitialised(rows(a), cols(a));
    each_element(rows(a), cols(a), map_with_row<Real, F>{f, a.data(), v.data(), cols(a), out.data()});
    return out;
  }

  template <class R>
  Tensor reduce_rows(R f, const Tensor& a) {
    Tensor out = self().uninitialised(rows(a), 1);
    for_each_row(self(), rows(a), cols(a), cols(a), reduce_row<Real, R>{f, a.data(), cols(a), out.data()});
    return out;
  }
  /// Rows are folded in blocks of 64, then the blocks in order.
  template <class R>
  Tensor reduce_cols(R f, const Tensor& a) {
    using step = reduce_column_block<Real, R, Derived::index_per_element ? 1 : 16>;
    if (rows(a) == 0) {
      Tensor out = self().uninitialised(1, cols(a));
      each(cols(a), 1, fill<Real>{R::template identity<Real>(), out.data()});
      return out;
    }
    const auto fold = [&](const Tensor& from) {
      Tensor out = self().uninitialised(step::blocks(rows(from)), cols(from));
      each(rows(out) * step::groups(cols(from)), step::rows_per_block * step::group,
           step{f, from.data(), rows(from), cols(from), out.data()});
      return out;
    };
    Tensor partial = fold(a);
    while (rows(partial) > 1) partial = fold(partial);
    return partial;
  }
  template <class R>
  Tensor reduce_all(R f, const Tensor& a) {
    using step = reduce_block<Real, R>;
    const index_type blocks = (size(a) + step::length - 1) / step::length;
    Tensor partial = self().uninitialised(1, blocks), out = self().uninitialised(1, 1);
    for_each_row(self(), blocks, step::length, step::length, step{f, a.data(), size(a), partial.data()});
    for_each_row(self(), 1, blocks, blocks, reduce_row<Real, R>{f, partial.data(), blocks, out.data()});
    return out;
  }

  Tensor gather_rows(const Tensor& a, std::span<const index_type> which) {
    host::check_rows("gather_rows", which, rows(a));
    const index_type count = static_cast<index_type>(which.size());
    Tensor out = self().uninitialised(count, cols(a));
    const auto there = self().indices(std::vector<index_type>(which.begin(), which.end()));
    each_element(count, cols(a), gather_element<Real>{a.data(), there.data(), cols(a), out.data()});
    return out;
  }
  void scatter_add_rows(Tensor& out, std::span<const index_type> which, const Tensor& a) {
    require_shape(cols(a) == cols(out) && rows(a) == static_cast<index_type>(which.size()), "scatter_add_rows", "out",
                  rows(out), cols(out), "a", rows(a), cols(a), "widths must match, and a has a row for each index");
    host::check_rows("scatter_add_rows", which, rows(out));
    if constexpr (Derived::index_per_element) {
      scatter_groups to(which);
      const auto there = self().indices(std::move(to.values));
      const index_type *targets = there.data(), *starts = targets + to.groups, *order = starts + to.groups + 1;
      each_element(to.groups, cols(a), scatter_element<Real>{a.data(), targets, starts, order, cols(a), out.data()});
    } else {
      const auto there = self().indices(std::vector<index_type>(which.begin(), which.end()));
      using step = scatter_columns<Real>;
      each((cols(a) + step::group - 1) / step::group, rows(a) * step::group,
           step{a.data(), there.data(), rows(a), cols(a), out.data()});
    }
  }
  Tensor block(const Tensor& a, index_type r0, index_type c0, index_type count, index_type width) {
    host::check_rectangle("block", rows(a), cols(a), r0, c0, count, width);
    return copied(a, r0, c0, count, width);
  }
  void paste(Tensor& out, const Tensor& a, index_type r0, index_type c0) {
    host::check_rectangle("paste", rows(out), cols(out), r0, c0, rows(a), cols(a));
    each_element(rows(a), cols(a), copy_element<Real>{a.data(), cols(a), out.data() + r0 * cols(out) + c0, cols(out)});
  }

 private:
  static constexpr index_type element_work = 4;

  Derived& self() { return static_cast<Derived&>(*this); }
  index_type rows(const Tensor& t) { return self().rows(t); }
  index_type cols(const Tensor& t) { return self().cols(t); }
  index_type size(const Tensor& t) { return rows(t) * cols(t); }

  template <class K>
  void each(index_type n, index_type work, const K& k) {
    if (n > 0) self().for_each_index(n, work, k);
  }
  template <class F>
  void each_element(index_type rows, index_type cols, const F& f) {
    if (rows == 0 || cols == 0) return;
    if constexpr (Derived::index_per_element)
      self().for_each_index(rows * cols, 1, by_element<F>{f, cols});
    else
      self().for_each_index(rows, cols, by_row<F>{f, cols});
  }
  Tensor copied(const Tensor& a, index_type r0, index_type c0, index_type count, index_type width) {
    Tensor out = self().uninitialised(count, width);
    each_element(count, width, copy_element<Real>{a.data() + r0 * cols(a) + c0, cols(a), out.data(), width});
    return out;
  }
};

}  // namespace negood::kernel
