/// \file cuda_system.hpp  Thrust's CUDA system: one stream, memory from the device's pool, products by cuBLAS.
///
/// Only in sources that nvcc compiles. Nothing but `download`, `synchronize` and uploads above 4 MiB waits for the
/// device.
#pragma once

#if defined(__CUDACC__)

#include <negood/backend/thrust/context.hpp>
#include <negood/backend/thrust/cuda_runtime.hpp>
#include <negood/backend/thrust/cuda_teams.hpp>

#include <thrust/for_each.h>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/system/cuda/execution_policy.h>

#include <cuda_bf16.h>
#include <cub/device/device_radix_sort.cuh>

#include <memory>

namespace negood::thrust_backend {
inline namespace NEGOOD_CUDA_ABI {

struct cuda_options {
  int device = 0;
  negood::precision precision = negood::precision::f32;  ///< TF32 is never used
};

namespace detail {

/// x = high + low in two bfloat16 numbers, up to 2^-17 of x.
struct split_bfloat16 {
  const float* x;
  __nv_bfloat16 *high, *low;  ///< low may be null
  NEGOOD_HD void operator()(index_type i) const {
    const __nv_bfloat16 h = __float2bfloat16(x[i]);
    high[i] = h;
    if (low) low[i] = __float2bfloat16(x[i] - __bfloat162float(h));
  }
};

}  // namespace detail

class cuda_system;

/// A matrix as cuBLAS is to read it: in its own type, or split into bfloat16 halves.
template <class Real>
struct cuda_operand {
  const Real* values = nullptr;
  detail::device_buffer<__nv_bfloat16> high, low;
};

/// A constant matrix; with bfloat16 precisions its halves are made once.
template <class Real>
class cuda_frozen {
 public:
  cuda_frozen() = default;
  cuda_frozen(index_type rows, index_type cols, detail::device_buffer<Real> values, cuda_operand<Real> operand)
      : rows_(rows), cols_(cols), values_(std::move(values)), operand_(std::move(operand)) {
    operand_.values = values_.data();
  }
  index_type rows() const noexcept { return rows_; }
  index_type cols() const noexcept { return cols_; }
  const cuda_operand<Real>& operand() const noexcept { return operand_; }

 private:
  index_type rows_ = 0, cols_ = 0;
  detail::device_buffer<Real> values_;
  cuda_operand<Real> operand_;
};

template <class Real>
class cuda_products;

class cuda_system {
 public:
  using options = cuda_options;
  template <class T>
  using buffer = detail::device_buffer<T>;
  template <class Real>
  using frozen = cuda_frozen<Real>;
  template <class Real>
  using products = cuda_products<Real>;
  static constexpr bool index_per_element = true;

  explicit cuda_system(const options& o)
      : stream_(std::make_shared<const detail::stream>(o.device)),
        uploads_(std::make_unique<detail::upload_ring>(stream_)) {}
  static constexpr std::string_view name() { return "thrust-cuda"; }
  cudaStream_t stream() const noexcept { return stream_->get(); }

  template <class T>
  buffer<T> allocate(std::size_t count) {
    return buffer<T>(stream_, count);
  }
  buffer<index_type> indices(const std::vector<index_type>& values) {
    auto out = allocate<index_type>(values.size());
    upload(values.data(), static_cast<index_type>(values.size()), out.data());
    return out;
  }
  template <class T>
  void upload(const T* from, index_type count, T* to) {
    if (count > 0) uploads_->upload(from, bytes<T>(count), to);
  }
  template <class T>
  void download(const T* from, index_type count, T* to) {
    if (count > 0)
      detail::check(cudaMemcpyAsync(to, from, bytes<T>(count), cudaMemcpyDeviceToHost, stream()), "download");
    synchronize();
  }
  void synchronize() { detail::check(cudaStreamSynchronize(stream()), "synchronize"); }

  template <class Kernel>
  void for_each_index(index_type n, index_type, const Kernel& kernel) {
    if (n > 0)
      ::thrust::for_each_n(::thrust::cuda::par_nosync.on(stream()), ::thrust::counting_iterator<index_type>(0), n,
                           kernel);
  }
  /// A warp for each row, or a block for each long one.
  template <class Kernel>
  void for_each_row(index_type n, index_type width, const Kernel& kernel) {
    detail::launch_rows(stream(), n, width, kernel);
  }
  /// The keys in ascending order, by CUB's radix sort.
  template <class Key>
  buffer<Key> sorted(buffer<Key> keys, index_type n) {
    auto out = allocate<Key>(static_cast<std::size_t>(n));
    if (n == 0) return out;
    std::size_t size = 0;
    const auto sort = [&](void* workspace) {
      detail::check(cub::DeviceRadixSort::SortKeys(workspace, size, static_cast<const Key*>(keys.data()), out.data(), n,
                                                   0, static_cast<int>(8 * sizeof(Key)), stream()),
                    "sort");
    };
    sort(nullptr);  // says how much it needs
    auto workspace = allocate<std::byte>(size);
    sort(workspace.data());
    return out;
  }

 private:
  template <class T>
  static std::size_t bytes(index_type count) {
    return static_cast<std::size_t>(count) * sizeof(T);
  }
  std::shared_ptr<const detail::stream> stream_;
  std::unique_ptr<detail::upload_ring> uploads_;
};

/// Products by cuBLAS on the context's stream. float: f32 without TF32, or bfloat16 operands with float sums, once or
/// in three products of their halves; double: f64.
template <class Real>
class cuda_products {
 public:
  cuda_products(cuda_system& system, const cuda_options& o)
      : precision_(sizeof(Real) == 8                       ? negood::precision::f64
                   : o.precision == negood::precision::f64 ? negood::precision::f32
                                                           : o.precision) {
    cublasHandle_t handle;
    detail::check(cublasCreate(&handle), "cublas");
    handle_.reset(handle);
    detail::check(cublasSetStream(handle, system.stream()), "cublas");
    detail::check(cublasSetMathMode(handle, CUBLAS_DEFAULT_MATH), "cublas");
  }
  negood::precision precision() const noexcept { return precision_; }

  void multiply(cuda_system& system, index_type m, index_type n, index_type k, const Real* a, bool a_transposed,
                const Real* b, bool b_transposed, Real* c) {
    gemm(system, m, n, k, operand(system, a, m * k), a_transposed, operand(system, b, n * k), b_transposed, c);
  }
  cuda_frozen<Real> freeze(cuda_system& system, index_type rows, index_type cols, const Real* values) {
    const auto size = static_cast<std::size_t>(rows * cols);
    auto copy = system.allocate<Real>(size);
    if (size > 0)
      detail::check(
          cudaMemcpyAsync(copy.data(), values, size * sizeof(Real), cudaMemcpyDeviceToDevice, system.stream()),
          "freeze");
    auto halves = operand(system, copy.data(), rows * cols);
    return cuda_frozen<Real>(rows, cols, std::move(copy), std::move(halves));
  }
  void multiply(cuda_system& system, index_type m, const Real* x, const cuda_frozen<Real>& w, bool transposed,
                Real* out) {
    const index_type n = transposed ? w.rows() : w.cols(), k = transposed ? w.cols() : w.rows();
    gemm(system, m, n, k, operand(system, x, m * k), false, w.operand(), transposed, out);
  }

 private:
  struct destroy {
    void operator()(cublasHandle_t h) const { cublasDestroy(h); }
  };

  bool halves() const { return precision_ == negood::precision::bf16 || precision_ == negood::precision::bf16x3; }

  cuda_operand<Real> operand(cuda_system& system, const Real* values, index_type size) {
    cuda_operand<Real> out;
    out.values = values;
    if constexpr (sizeof(Real) == sizeof(float))
      if (halves() && size > 0) {
        out.high = system.allocate<__nv_bfloat16>(static_cast<std::size_t>(size));
        if (precision_ == negood::precision::bf16x3)
          out.low = system.allocate<__nv_bfloat16>(static_cast<std::size_t>(size));
        system.for_each_index(size, 1, detail::split_bfloat16{values, out.high.data(), out.low.data()});
      }
    return out;
  }

  /// cuBLAS counts columns first: c' = b' a' has the row-major matrices as they lie.
  void gemm(cuda_system& system, index_type m, index_type n, index_type k, const cuda_operand<Real>& a,
            bool a_transposed, const cuda_operand<Real>& b, bool b_transposed, Real* c) {
    if (m == 0 || n == 0) return;
    if (k == 0) return system.for_each_index(m * n, 1, kernel::fill<Real>{Real(0), c});
    const auto run = [&](const void* left, const void* right, cudaDataType type, Real beta) {
      const Real one = 1;
      constexpr bool wide = sizeof(Real) == 8;
      detail::check(
          cublasGemmEx(handle_.get(), b_transposed ? CUBLAS_OP_T : CUBLAS_OP_N,
                       a_transposed ? CUBLAS_OP_T : CUBLAS_OP_N, static_cast<int>(n), static_cast<int>(m),
                       static_cast<int>(k), &one, right, type, static_cast<int>(b_transposed ? k : n), left, type,
                       static_cast<int>(a_transposed ? m : k), &beta, c, wide ? CUDA_R_64F : CUDA_R_32F,
                       static_cast<int>(n), wide ? CUBLAS_COMPUTE_64F : CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT),
          "matrix product");
    };
    if (!halves()) return run(a.values, b.values, sizeof(Real) == 8 ? CUDA_R_64F : CUDA_R_32F, Real(0));
    run(a.high.data(), b.high.data(), CUDA_R_16BF, Real(0));
    if (precision_ == negood::precision::bf16) return;
    run(a.high.data(), b.low.data(), CUDA_R_16BF, Real(1));
    run(a.low.data(), b.high.data(), CUDA_R_16BF, Real(1));
  }

  negood::precision precision_;
  std::unique_ptr<std::remove_pointer_t<cublasHandle_t>, destroy> handle_;
};

}  // namespace NEGOOD_CUDA_ABI
}  // namespace negood::thrust_backend

#endif
