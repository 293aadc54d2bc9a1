/// \file amx.hpp  Products through the bfloat16 matrix unit (AMX): rounded operands, or operands split in two halves.
///
/// A float x is hi + lo + error, hi = bf16(x), lo = bf16(x - hi): 16 of its 24 bits. x y is then taken as
/// lo hi + hi hi + hi lo, summed in float; what is dropped is of relative size 2^-16 to 2^-17 per term. As in
/// panels.hpp an element's sum runs over k in a fixed order that depends on nothing around it.
#pragma once

#include <negood/backend/eigen/panels.hpp>

#include <cstdlib>

#if defined(__x86_64__) && defined(__linux__)
#define NEGOOD_EIGEN_HAS_AMX_KERNELS 1
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>
#else
#define NEGOOD_EIGEN_HAS_AMX_KERNELS 0
#endif

namespace negood::eigen::detail {

#if NEGOOD_EIGEN_HAS_AMX_KERNELS

#define NEGOOD_AMX __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16"), noinline))

#define NEGOOD_AMX_INLINE \
  inline __attribute__((target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,amx-tile,amx-bf16"), always_inline))

/// True if the processor has the unit, the system saves its registers, and lets this process use them.
/// NEGOOD_AMX=0 in the environment makes it false.
inline bool amx_works() {
  static const bool works = [] {
    if (const char* wish = std::getenv("NEGOOD_AMX"); wish && wish[0] == '0') return false;
    unsigned a = 0, b = 0, c = 0, d = 0;
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d)) return false;
    const bool tiles = (d >> 24 & 1) && (d >> 22 & 1), avx512 = (b >> 16 & 1) && (b >> 30 & 1) && (b >> 31 & 1);
    if (!__get_cpuid_count(7, 1, &a, &b, &c, &d) || !(a >> 5 & 1) || !tiles || !avx512) return false;
    if (!__get_cpuid_count(1, 0, &a, &b, &c, &d) || !(c >> 27 & 1)) return false;
    unsigned low = 0, high = 0;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    if ((low & 0x600e6) != 0x600e6) return false;
    constexpr long request_permission = 0x1023, tile_data = 18;
    return syscall(SYS_arch_prctl, request_permission, tile_data) == 0;
  }();
  return works;
}

struct alignas(64) tile_configuration {
  std::uint8_t palette = 1, start_row = 0, reserved[14] = {};
  std::uint16_t row_bytes[16] = {};
  std::uint8_t rows[16] = {};
};

// The tile intrinsics of GCC 12 do not tell the compiler that they touch memory, so say it here.
#define NEGOOD_MEMORY_FENCE __asm__ volatile("" ::: "memory")

/// All eight tiles are 16 rows of 64 bytes.
NEGOOD_AMX inline void configure_tiles() {
  tile_configuration t;
  for (int i = 0; i < 8; ++i) {
    t.row_bytes[i] = 64;
    t.rows[i] = 16;
  }
  NEGOOD_MEMORY_FENCE;
  __asm__ volatile("ldtilecfg %0" ::"m"(t));
}
NEGOOD_AMX inline void release_tiles() { __asm__ volatile("tilerelease"); }

// GCC 12 warns about its own unmasked intrinsics (an undefined pass-through); the masked ones with a full mask compile
// to the same instructions.
inline constexpr unsigned short all_lanes = 0xffff;

/// bf16 in the low half of each 32-bit lane, as the float it stands for.
NEGOOD_AMX_INLINE __m512 widen_bf16(__m256i x) {
  return _mm512_castsi512_ps(_mm512_maskz_slli_epi32(all_lanes, _mm512_maskz_cvtepu16_epi32(all_lanes, x), 16));
}

/// 32 floats to one tile row of bf16, and what the rounding left to another.
NEGOOD_AMX inline void split_rows_bf16(const float* x, index_type x_step, index_type rows, index_type steps,
                                       bool halves, std::uint8_t* out, index_type block_bytes, index_type lo_offset,
                                       index_type hi_offset) {
  for (index_type r = 0; r < rows; ++r)
    for (index_type p = 0; p < steps; p += 32) {
      const float* from = x + r * x_step + p;
      const index_type left = steps - p;
      const __mmask16 m0 = left >= 16 ? 0xffff : static_cast<__mmask16>((1u << left) - 1);
      const __mmask16 m1 = left >= 32 ? 0xffff : left <= 16 ? 0 : static_cast<__mmask16>((1u << (left - 16)) - 1);
      const __m512 a = _mm512_maskz_loadu_ps(m0, from), b = _mm512_maskz_loadu_ps(m1, from + (left > 16 ? 16 : 0));
      const __m512i hi = (__m512i)_mm512_cvtne2ps_pbh(b, a);
      std::uint8_t* to = out + p / 32 * block_bytes + r * 64;
      _mm512_store_si512(to + hi_offset, hi);
      if (halves) {
        const __m512 rest_a = a - widen_bf16(_mm512_maskz_extracti64x4_epi64(0xf, hi, 0));
        const __m512 rest_b = b - widen_bf16(_mm512_maskz_extracti64x4_epi64(0xf, hi, 1));
        _mm512_store_si512(to + lo_offset, (__m512i)_mm512_cvtne2ps_pbh(rest_b, rest_a));
      }
    }
}

/// A block of 32 x 16 floats (`ld` = 16) to a tile of the right factor: row p holds rows 2p and 2p+1, column by column.
NEGOOD_AMX inline void split_block_bf16(const float* b, bool halves, std::uint8_t* hi_tile, std::uint8_t* lo_tile) {
  for (int p = 0; p < 16; ++p) {
    __m512 even = _mm512_load_ps(b + 32 * p), odd = _mm512_load_ps(b + 32 * p + 16);
    for (int half = 0; half < (halves ? 2 : 1); ++half) {
      const __m256i e = (__m256i)_mm512_cvtneps_pbh(even), o = (__m256i)_mm512_cvtneps_pbh(odd);
      const __m512i upper = _mm512_maskz_slli_epi32(all_lanes, _mm512_maskz_cvtepu16_epi32(all_lanes, o), 16);
      _mm512_store_si512((half ? lo_tile : hi_tile) + 64 * p,
                         _mm512_or_si512(upper, _mm512_maskz_cvtepu16_epi32(all_lanes, e)));
      even = even - widen_bf16(e);
      odd = odd - widen_bf16(o);
    }
  }
}

/// c[32, 32] = start + a b over `blocks` steps of 32 columns of a. A step of a is lo0 lo1 hi0 hi1 (hi0 hi1 without
/// halves), a step of b is hi0 hi1 lo0 lo1 (hi0 hi1). `tall` = false leaves the lower 16 rows out.
template <bool Halves, bool Tall>
NEGOOD_AMX void tile_kernel(index_type blocks, const std::uint8_t* a, const std::uint8_t* b, const float* start,
                            index_type start_step, float* c, index_type c_step) {
  constexpr index_type tile = 1024, step = Halves ? 4 * tile : 2 * tile;
  NEGOOD_MEMORY_FENCE;
  const index_type start_bytes = start_step * 4, c_bytes = c_step * 4;
  _tile_loadd(0, start, start_bytes);
  _tile_loadd(1, start + 16, start_bytes);
  if constexpr (Tall) {
    _tile_loadd(2, start + 16 * start_step, start_bytes);
    _tile_loadd(3, start + 16 * start_step + 16, start_bytes);
  }
  for (index_type p = 0; p < blocks; ++p, a += step, b += step) {
    // Without halves the panel fits the first cache, if the rows passing by are kept from pushing it out.
    if constexpr (Halves)
      _tile_loadd(4, a, 64);
    else
      _tile_stream_loadd(4, a, 64);
    _tile_loadd(6, b, 64);
    _tile_dpbf16ps(0, 4, 6);
    _tile_loadd(7, b + tile, 64);
    _tile_dpbf16ps(1, 4, 7);
    if constexpr (Tall) {
      if constexpr (Halves)
        _tile_loadd(5, a + tile, 64);
      else
        _tile_stream_loadd(5, a + tile, 64);
      _tile_dpbf16ps(2, 5, 6);
      _tile_dpbf16ps(3, 5, 7);
    }
    if constexpr (Halves) {
      _tile_loadd(4, a + 2 * tile, 64);
      _tile_dpbf16ps(0, 4, 6);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (Tall) {
        _tile_loadd(5, a + 3 * tile, 64);
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
      }
      _tile_loadd(6, b + 2 * tile, 64);
      _tile_dpbf16ps(0, 4, 6);
      if constexpr (Tall) _tile_dpbf16ps(2, 5, 6);
      _tile_loadd(7, b + 3 * tile, 64);
      _tile_dpbf16ps(1, 4, 7);
      if constexpr (Tall) _tile_dpbf16ps(3, 5, 7);
    }
  }
  _tile_stored(0, c, c_bytes);
  _tile_stored(1, c + 16, c_bytes);
  if constexpr (Tall) {
    _tile_stored(2, c + 16 * c_step, c_bytes);
    _tile_stored(3, c + 16 * c_step + 16, c_bytes);
  }
  NEGOOD_MEMORY_FENCE;
}

/// The right factor `[k, n]` in panels of 32 columns, as tiles of bf16 halves.
class tile_panels {
 public:
  static constexpr index_type width = 32, row_unit = 32, rows_per_block = 256;

  tile_panels() = default;
  /// `halves`: keep hi and lo, else hi alone.
  tile_panels(index_type k, index_type n, bool halves)
      : k_(k), n_(n), halves_(halves), values_(static_cast<std::size_t>(blocks() * count() * step_bytes())) {}
  void pack(index_type j, strided<float> b) {
    alignas(64) float block[32 * 16];
    const index_type lo = halves_ ? 2048 : 0;
    for (index_type p = 0; p < blocks(); ++p)
      for (index_type side = 0; side < 2; ++side) {
        const index_type column = j * width + side * 16;
        const index_type rows = std::min<index_type>(32, k_ - p * 32);
        const index_type columns = std::clamp<index_type>(n_ - column, 0, 16);
        if (rows < 32 || columns < 16) std::fill(block, block + 32 * 16, 0.0f);
        if (columns > 0) copy_block(b.at(p * 32, column), rows, columns, block, index_type{16});
        std::uint8_t* step = values_.data() + (j * blocks() + p) * step_bytes() + side * 1024;
        split_block_bf16(block, halves_, step, step + lo);
      }
  }
  index_type count() const noexcept { return (n_ + width - 1) / width; }
  index_type bytes() const noexcept { return blocks() * count() * step_bytes(); }

  /// c[0..m, columns of panels [first, last)) = start + a b; rows of c stand `c_step` apart.
  void multiply(index_type m, strided<float> a, index_type first, index_type last, summand<float> start, float* c,
                index_type c_step) const {
    // 16 steps of a panel are 64 KiB and of the rows 512 KiB: both stay in the second cache while they are used.
    constexpr index_type depth = 16;
    thread_local buffer<std::uint8_t> packed_rows;
    thread_local buffer<float> gathered;
    configure_tiles();
    for (index_type r0 = 0; r0 < m; r0 += rows_per_block) {
      const index_type rows = std::min(rows_per_block, m - r0);
      std::uint8_t* packed = packed_rows.require(static_cast<std::size_t>(rows_per_block / 32 * depth * step_bytes()));
      index_type b0 = 0;
      do {
        const index_type steps = std::min(depth, blocks() - b0), columns = std::min(steps * 32, k_ - b0 * 32);
        for (index_type s = 0; s < rows; s += 32) {
          const index_type height = std::min<index_type>(32, rows - s);
          strided<float> from = a.at(r0 + s, b0 * 32);
          if (from.col_step != 1) {
            float* row_major = gathered.require(32 * depth * 32);
            copy_block(from, height, columns, row_major, depth * 32);
            from = {row_major, depth * 32, 1};
          }
          pack_rows(from, height, columns, packed + s / 32 * depth * step_bytes());
        }
        for (index_type j = first; j < last; ++j)
          for (index_type s = 0; s < rows; s += 32)
            one_block(j, b0, steps, packed + s / 32 * depth * step_bytes(), std::min<index_type>(32, rows - s),
                      b0 > 0 ? summand<float>{c, c_step}.at(r0 + s) : start.at(r0 + s), c + (r0 + s) * c_step, c_step);
        b0 += steps;
      } while (b0 < blocks());
    }
    release_tiles();
  }

 private:
  index_type blocks() const noexcept { return (k_ + 31) / 32; }
  index_type step_bytes() const noexcept { return halves_ ? 4096 : 2048; }

  void pack_rows(strided<float> a, index_type rows, index_type columns, std::uint8_t* out) const {
    const index_type hi = halves_ ? 2048 : 0, upper = std::min<index_type>(16, rows);
    split_rows_bf16(a.data, a.row_step, upper, columns, halves_, out, step_bytes(), 0, hi);
    if (rows > 16)
      split_rows_bf16(a.data + 16 * a.row_step, a.row_step, rows - 16, columns, halves_, out + 1024, step_bytes(), 0,
                      hi);
    // Rows that do not exist keep what the buffer held: a tile row meets only its own output row, which is dropped.
  }
  void one_block(index_type j, index_type b0, index_type steps, const std::uint8_t* a, index_type rows,
                 summand<float> start, float* c, index_type c_step) const {
    const std::uint8_t* b = values_.data() + (j * blocks() + b0) * step_bytes();
    const index_type columns = std::min(width, n_ - j * width);
    static constexpr float zeros[width] = {};
    float* out = c + j * width;
    const float* from = start.data ? start.data + j * width : zeros;
    if (columns == width && (rows == 32 || rows == 16))
      return kernel(rows > 16, steps, a, b, from, start.row_step, out, c_step);
    // A block over the edge is computed in a square of its own.
    alignas(64) float edge[32 * 32] = {};
    if (start.data)
      for (index_type i = 0; i < rows; ++i) std::copy_n(from + i * start.row_step, columns, edge + i * 32);
    kernel(rows > 16, steps, a, b, edge, 32, edge, 32);
    for (index_type i = 0; i < rows; ++i) std::copy_n(edge + i * 32, columns, out + i * c_step);
  }
  void kernel(bool tall, index_type steps, const std::uint8_t* a, const std::uint8_t* b, const float* start,
              index_type start_step, float* c, index_type c_step) const {
    if (halves_)
      tall ? tile_kernel<true, true>(steps, a, b, start, start_step, c, c_step)
           : tile_kernel<true, false>(steps, a, b, start, start_step, c, c_step);
    else
      tall ? tile_kernel<false, true>(steps, a, b, start, start_step, c, c_step)
           : tile_kernel<false, false>(steps, a, b, start, start_step, c, c_step);
  }

  index_type k_ = 0, n_ = 0;
  bool halves_ = true;
  buffer<std::uint8_t> values_;
};

#else

inline bool amx_works() { return false; }

#endif

}  // namespace negood::eigen::detail
