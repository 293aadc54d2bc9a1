/// \file products.hpp  Matrix products: which kernel, and how the work is cut over the threads.
#pragma once

#include <negood/backend/eigen/amx.hpp>
#include <negood/backend/eigen/library_panels.hpp>
#include <negood/backend/eigen/panels.hpp>
#include <negood/backend/precision.hpp>

#include <atomic>
#include <cstdio>

namespace negood::eigen {

/// The precision that products of `Real` really get here: double has one, and where the processor has no bfloat16
/// matrix unit float falls back to f32, which is no less accurate, and says so once.
template <class Real>
negood::precision supported(negood::precision wanted) {
  using negood::precision;
  if (sizeof(Real) == sizeof(double)) return precision::f64;
  if (wanted == precision::f64) return precision::f32;
  if (wanted != precision::f32 && !detail::amx_works()) {
    static std::atomic<bool> said{false};
    if (!said.exchange(true))
      std::fputs("negood: no bfloat16 matrix unit (AMX) here; matrix products are computed in f32\n", stderr);
    return precision::f32;
  }
  return wanted;
}

namespace detail {

// `run(count, f)` calls f(worker, i) for i in [0, count), over the threads or not: that is the caller's choice.

/// c = a B (+ bias) for a packed B. The cut depends on the number of threads; the bytes do not, because neither kernel
/// lets an element depend on what is computed beside it.
template <class Packed, class Run, class T>
void multiply_packed(Run&& run, index_type threads, const Packed& b, index_type m, index_type n, index_type k,
                     strided<T> a, const T* bias, T* c) {
  constexpr double worth_waking = 4e6;  // operations: some 20 microseconds
  const index_type panels = b.count();
  if (m <= 0 || panels == 0) return;
  if (threads == 1 || 2.0 * static_cast<double>(m) * static_cast<double>(n) * static_cast<double>(k) < worth_waking)
    return b.multiply(m, a, 0, panels, summand<T>{bias, 0}, c, n);
  const index_type wanted = std::max<index_type>(64, (m + 4 * threads - 1) / (4 * threads));
  const index_type rows =
      std::min(Packed::rows_per_block, (wanted + Packed::row_unit - 1) / Packed::row_unit * Packed::row_unit);
  const index_type row_tasks = (m + rows - 1) / rows;
  const index_type column_tasks =
      std::clamp<index_type>((2 * threads + row_tasks - 1) / row_tasks, 1, std::max<index_type>(1, panels / 4));
  run(row_tasks * column_tasks, [&](index_type, index_type task) {
    const index_type r = task / column_tasks * rows, part = task % column_tasks;
    b.multiply(std::min(rows, m - r), a.at(r, 0), panels * part / column_tasks, panels * (part + 1) / column_tasks,
               summand<T>{bias, 0}, c + r * n, n);
  });
}

template <class Packed, class Run, class T>
void pack_panels(Run&& run, Packed& packed, strided<T> b) {
  run(packed.count(), [&](index_type, index_type j) { packed.pack(j, b); });
}

/// c = a b, both given whole.
template <class Run, class T>
void multiply(Run&& run, index_type threads, negood::precision p, index_type m, index_type n, index_type k,
              strided<T> a, strided<T> b, T* c) {
  // Which kernel is decided by the right factor alone, so that a row's bytes do not depend on how many rows there are.
  const auto through = [&](auto packed) {
    pack_panels(run, packed, b);
    multiply_packed(run, threads, packed, m, n, k, a, static_cast<const T*>(nullptr), c);
  };
  constexpr index_type worth_packing = 64 * 64;
  if (n * k < worth_packing) return through(panels<T>(k, n));
#if NEGOOD_EIGEN_HAS_AMX_KERNELS
  if constexpr (sizeof(T) == sizeof(float))
    if (p != negood::precision::f32) return through(tile_panels(k, n, p == negood::precision::bf16x3));
#endif
  (void)p;
  through(library_panels<T>(k, n));
}

}  // namespace detail
}  // namespace negood::eigen
