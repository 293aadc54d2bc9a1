/// \file panel_kernel.hpp  The innermost loop of products in float and double, for whichever vectors the processor has.
///
/// Compiled for AVX-512, AVX2 and the plain target whatever the compiler's flags, and chosen when the program runs, so
/// that a program built for any x86-64 multiplies at full speed. With multiply-add instructions all versions give the
/// same bytes: element (i, j) is one chain over k in ascending order.
#pragma once

#include <negood/backend/eigen/simd.hpp>

#include <cstring>

namespace negood::eigen::detail {

/// Columns of a panel: two of the widest vectors.
template <class T>
inline constexpr index_type panel_width = 128 / static_cast<index_type>(sizeof(T));

/// c[Rows, panel_width] = start + a b over k steps. `a` holds Rows values a step, `b` one panel row a step.
template <class T>
using panel_kernel = void (*)(index_type k, const T* a, const T* b, const T* start, index_type start_step, T* c,
                              index_type c_step);

// The body, for vectors of a given size: strips of two vectors, all rows of a strip in registers.
#define NEGOOD_PANEL_KERNEL(name, attributes, vector_size_in_bytes)                                       \
  template <class T, int Rows>                                                                            \
  attributes void name(index_type k, const T* a, const T* b, const T* start, index_type start_step, T* c, \
                       index_type c_step) {                                                               \
    typedef T vector __attribute__((vector_size(vector_size_in_bytes)));                                  \
    constexpr index_type lanes = vector_size_in_bytes / static_cast<index_type>(sizeof(T));               \
    for (index_type column = 0; column < panel_width<T>; column += 2 * lanes) {                           \
      vector sum[Rows][2];                                                                                \
      NEGOOD_UNROLL for (int i = 0; i < Rows; ++i) {                                                      \
        std::memcpy(&sum[i][0], start + column + i * start_step, sizeof(vector));                         \
        std::memcpy(&sum[i][1], start + column + i * start_step + lanes, sizeof(vector));                 \
        __builtin_prefetch(c + column + i * c_step, 1);                                                   \
        __builtin_prefetch(c + column + i * c_step + lanes, 1);                                           \
      }                                                                                                   \
      const T *left = a, *right = b + column;                                                             \
      for (index_type p = 0; p < k; ++p) {                                                                \
        __builtin_prefetch(right + 16 * panel_width<T>);                                                  \
        __builtin_prefetch(right + 16 * panel_width<T> + lanes);                                          \
        vector b0, b1;                                                                                    \
        std::memcpy(&b0, right, sizeof(vector));                                                          \
        std::memcpy(&b1, right + lanes, sizeof(vector));                                                  \
        NEGOOD_UNROLL for (int i = 0; i < Rows; ++i) {                                                    \
          const vector x = left[i] - vector{};                                                            \
          sum[i][0] += x * b0;                                                                            \
          sum[i][1] += x * b1;                                                                            \
        }                                                                                                 \
        left += Rows;                                                                                     \
        right += panel_width<T>;                                                                          \
      }                                                                                                   \
      NEGOOD_UNROLL for (int i = 0; i < Rows; ++i) {                                                      \
        std::memcpy(c + column + i * c_step, &sum[i][0], sizeof(vector));                                 \
        std::memcpy(c + column + i * c_step + lanes, &sum[i][1], sizeof(vector));                         \
      }                                                                                                   \
    }                                                                                                     \
  }

#if defined(__x86_64__)
#if defined(__clang__)  // which would rather have two halves than one vector of 512 bits
#define NEGOOD_WHOLE_VECTORS __attribute__((min_vector_width(512)))
#else
#define NEGOOD_WHOLE_VECTORS
#endif
NEGOOD_PANEL_KERNEL(panel_kernel_avx512, __attribute__((target("avx512f,fma"), noinline)) NEGOOD_WHOLE_VECTORS, 64)
NEGOOD_PANEL_KERNEL(panel_kernel_avx2, __attribute__((target("avx2,fma"), noinline)), 32)
#endif
NEGOOD_PANEL_KERNEL(panel_kernel_plain, __attribute__((noinline)), 16)
#undef NEGOOD_PANEL_KERNEL
#undef NEGOOD_WHOLE_VECTORS

/// The kernels of this processor: `of_height[h]` for even h up to `height`, as many rows as its registers hold.
template <class T>
struct panel_kernels {
  index_type height;
  panel_kernel<T> of_height[15];
};

inline constexpr index_type greatest_panel_height = 14;

template <class T>
const panel_kernels<T>& this_panel_kernels() {
  static const panel_kernels<T> chosen = [] {
#if defined(__x86_64__)
    if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("fma"))
      return panel_kernels<T>{
          14,
          {nullptr, nullptr, panel_kernel_avx512<T, 2>, nullptr, panel_kernel_avx512<T, 4>, nullptr,
           panel_kernel_avx512<T, 6>, nullptr, panel_kernel_avx512<T, 8>, nullptr, panel_kernel_avx512<T, 10>, nullptr,
           panel_kernel_avx512<T, 12>, nullptr, panel_kernel_avx512<T, 14>}};
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
      return panel_kernels<T>{6,
                              {nullptr, nullptr, panel_kernel_avx2<T, 2>, nullptr, panel_kernel_avx2<T, 4>, nullptr,
                               panel_kernel_avx2<T, 6>}};
#endif
    return panel_kernels<T>{6,
                            {nullptr, nullptr, panel_kernel_plain<T, 2>, nullptr, panel_kernel_plain<T, 4>, nullptr,
                             panel_kernel_plain<T, 6>}};
  }();
  return chosen;
}

}  // namespace negood::eigen::detail
