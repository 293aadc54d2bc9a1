/// \file frozen.hpp  A constant matrix, packed once for each direction it is used in.
#pragma once

#include <negood/backend/eigen/products.hpp>

#include <atomic>
#include <memory>
#include <mutex>
#include <type_traits>

namespace negood::eigen {

/// Which of the two products of a constant W: x W or x W'.
enum class direction { normal, transposed };

/// A constant matrix. Each direction is packed when it is first used, in whichever thread that is; when both are, the
/// plain values are dropped.
template <class Real>
class frozen {
 public:
  frozen() = default;
  frozen(tensor<Real> values, negood::precision p) : state_(std::make_unique<state>()) {
    state_->rows = values.rows();
    state_->cols = values.cols();
    state_->precision = p;
    state_->values = std::move(values);
  }
  index_type rows() const noexcept { return state_ ? state_->rows : 0; }
  index_type cols() const noexcept { return state_ ? state_->cols : 0; }

  /// out = x W or x W', plus the bias row if there is one.
  template <class Run>
  void multiply(Run&& run, index_type threads, direction way, index_type m, const Real* x, const Real* bias,
                Real* out) const {
    if (!state_) return;
    const bool normal = way == direction::normal;
    const index_type n = normal ? cols() : rows(), k = normal ? rows() : cols();
    const auto go = [&](const auto& packed) {
      detail::multiply_packed(run, threads, packed, m, n, k, detail::strided<Real>{x, k, 1}, bias, out);
    };
    side& s = state_->sides[normal ? 0 : 1];
    if (!s.ready.load(std::memory_order_acquire)) pack(s, normal, n, k);
#if NEGOOD_EIGEN_HAS_AMX_KERNELS
    if constexpr (sizeof(Real) == sizeof(float)) {
      if (uses_tiles()) return go(s.tiles);
    }
#endif
    go(s.plain);
  }

 private:
  struct side {
    std::atomic<bool> ready{false};
    detail::library_panels<Real> plain;
#if NEGOOD_EIGEN_HAS_AMX_KERNELS
    detail::tile_panels tiles;
#endif
  };
  struct state {
    index_type rows = 0, cols = 0;
    negood::precision precision = negood::precision::f32;
    std::mutex mutex;  ///< guards values and the packing of both sides
    tensor<Real> values;
    side sides[2];
  };

  bool uses_tiles() const {
    return state_->precision == negood::precision::bf16x3 || state_->precision == negood::precision::bf16;
  }
  void pack(side& s, bool normal, index_type n, index_type k) const {
    const std::lock_guard<std::mutex> lock(state_->mutex);
    if (s.ready.load(std::memory_order_relaxed)) return;
    const auto here = [](index_type count, auto&& f) {
      for (index_type i = 0; i < count; ++i) f(index_type{0}, i);
    };
    const detail::strided<Real> w{state_->values.data(), normal ? cols() : 1, normal ? 1 : cols()};
    bool packed = false;
#if NEGOOD_EIGEN_HAS_AMX_KERNELS
    if constexpr (sizeof(Real) == sizeof(float)) {
      if (uses_tiles()) {
        s.tiles = detail::tile_panels(k, n, state_->precision == negood::precision::bf16x3);
        detail::pack_panels(here, s.tiles, w);
        packed = true;
      }
    }
#endif
    if (!packed) {
      s.plain = detail::library_panels<Real>(k, n);
      detail::pack_panels(here, s.plain, w);
    }
    s.ready.store(true, std::memory_order_release);
    if (state_->sides[0].ready.load(std::memory_order_relaxed) &&
        state_->sides[1].ready.load(std::memory_order_relaxed))
      state_->values = tensor<Real>();
  }

  std::unique_ptr<state> state_;
};

}  // namespace negood::eigen
