/// \file cuda_runtime.hpp  What the CUDA system stands on: the namespace of its functions, errors, a stream, memory.
#pragma once

#if defined(__CUDACC__)

#include <negood/error.hpp>

#include <cublas_v2.h>
#include <cuda_runtime.h>

#include <cstdint>
#include <cstring>
#include <limits>
#include <memory>
#include <string>
#include <utility>

// Sources compiled for other architectures, or by another CUDA, have other kernels under the same names: the namespace
// keeps them apart in one program.
#define NEGOOD_CUDA_JOIN_1(v, a) cuda_##v##_sm##a
#define NEGOOD_CUDA_JOIN_2(v, a, b) cuda_##v##_sm##a##_##b
#define NEGOOD_CUDA_JOIN_3(v, a, b, c) cuda_##v##_sm##a##_##b##_##c
#define NEGOOD_CUDA_JOIN_4(v, a, b, c, d) cuda_##v##_sm##a##_##b##_##c##_##d
#define NEGOOD_CUDA_JOIN_MORE(v, a, b, c, d, ...) cuda_##v##_sm##a##_##b##_##c##_##d##_more
#define NEGOOD_CUDA_PICK(_1, _2, _3, _4, _5, _6, _7, _8, name, ...) name
#define NEGOOD_CUDA_NAME(v, ...)                                                                      \
  NEGOOD_CUDA_PICK(__VA_ARGS__, NEGOOD_CUDA_JOIN_MORE, NEGOOD_CUDA_JOIN_MORE, NEGOOD_CUDA_JOIN_MORE,  \
                   NEGOOD_CUDA_JOIN_MORE, NEGOOD_CUDA_JOIN_4, NEGOOD_CUDA_JOIN_3, NEGOOD_CUDA_JOIN_2, \
                   NEGOOD_CUDA_JOIN_1, )                                                              \
  (v, __VA_ARGS__)
#define NEGOOD_CUDA_NAMED(v, ...) NEGOOD_CUDA_NAME(v, __VA_ARGS__)
#define NEGOOD_CUDA_ABI NEGOOD_CUDA_NAMED(__CUDACC_VER_MAJOR__, __CUDA_ARCH_LIST__)

namespace negood::thrust_backend {
inline namespace NEGOOD_CUDA_ABI {
namespace detail {

/// \throws error negood.thrust.1 (category resource) for an error of the CUDA runtime
inline void check(cudaError_t status, std::string_view where) {
  if (status == cudaSuccess) return;
  fail(error_category::resource, "negood.thrust.1", where, cudaGetErrorString(status),
       "is there a CUDA device with enough memory, and a driver as new as the toolkit?");
}
/// \throws error negood.thrust.2 (category resource) for an error of cuBLAS
inline void check(cublasStatus_t status, std::string_view where) {
  if (status == CUBLAS_STATUS_SUCCESS) return;
  fail(error_category::resource, "negood.thrust.2", where, cublasGetStatusString(status));
}

/// A stream, kept alive by all that waits on it.
class stream {
 public:
  explicit stream(int device) : device_(device) {
    check(cudaSetDevice(device), "cuda context");
    check(cudaStreamCreateWithFlags(&stream_, cudaStreamNonBlocking), "cuda context");
    // Freed memory stays in the pool: a training step asks for the same sizes again.
    cudaMemPool_t pool;
    check(cudaDeviceGetDefaultMemPool(&pool, device), "cuda context");
    std::uint64_t keep = std::numeric_limits<std::uint64_t>::max();
    check(cudaMemPoolSetAttribute(pool, cudaMemPoolAttrReleaseThreshold, &keep), "cuda context");
  }
  stream(const stream&) = delete;
  stream& operator=(const stream&) = delete;
  ~stream() { cudaStreamDestroy(stream_); }
  cudaStream_t get() const noexcept { return stream_; }
  int device() const noexcept { return device_; }

 private:
  int device_;
  cudaStream_t stream_ = nullptr;
};

template <class T>
class device_buffer {
 public:
  device_buffer() = default;
  device_buffer(std::shared_ptr<const stream> on, std::size_t count) : stream_(std::move(on)) {
    void* p = nullptr;
    if (count > 0) check(cudaMallocAsync(&p, count * sizeof(T), stream_->get()), "tensor");
    data_ = static_cast<T*>(p);
  }
  device_buffer(device_buffer&& other) noexcept
      : stream_(std::move(other.stream_)), data_(std::exchange(other.data_, nullptr)) {}
  device_buffer& operator=(device_buffer&& other) noexcept {
    std::swap(stream_, other.stream_);
    std::swap(data_, other.data_);
    return *this;
  }
  ~device_buffer() {
    if (data_) cudaFreeAsync(data_, stream_->get());
  }
  T* data() noexcept { return data_; }
  const T* data() const noexcept { return data_; }

 private:
  std::shared_ptr<const stream> stream_;
  T* data_ = nullptr;
};

/// Page-locked memory for uploads: the device fetches from it while the host goes on. It has two halves; a half is
/// written again once the device has passed the event behind its last copy, so that the host waits only when it is a
/// whole half ahead.
class upload_ring {
 public:
  static constexpr std::size_t half_bytes = std::size_t{4} << 20;

  explicit upload_ring(std::shared_ptr<const stream> on) : stream_(std::move(on)) {
    void* p = nullptr;
    check(cudaMallocHost(&p, 2 * half_bytes), "upload");
    data_ = static_cast<std::byte*>(p);
    for (cudaEvent_t& e : passed_) check(cudaEventCreateWithFlags(&e, cudaEventDisableTiming), "upload");
  }
  upload_ring(const upload_ring&) = delete;
  upload_ring& operator=(const upload_ring&) = delete;
  ~upload_ring() {
    cudaStreamSynchronize(stream_->get());
    for (cudaEvent_t e : passed_) cudaEventDestroy(e);
    cudaFreeHost(data_);
  }

  /// Copies at once where `bytes` is more than a half: that one waits for the device.
  void upload(const void* from, std::size_t bytes, void* to) {
    const void* source = from;
    if (bytes <= half_bytes) {
      if (used_ + bytes > half_bytes) {
        check(cudaEventRecord(passed_[half_], stream_->get()), "upload");
        half_ = 1 - half_;
        used_ = 0;
        check(cudaEventSynchronize(passed_[half_]), "upload");  // returns at once before its first record
      }
      std::byte* const place = data_ + half_ * half_bytes + used_;
      std::memcpy(place, from, bytes);
      used_ += (bytes + 255) / 256 * 256;
      source = place;
    }
    check(cudaMemcpyAsync(to, source, bytes, cudaMemcpyHostToDevice, stream_->get()), "upload");
  }

 private:
  std::shared_ptr<const stream> stream_;
  std::byte* data_ = nullptr;
  cudaEvent_t passed_[2] = {};
  std::size_t half_ = 0, used_ = 0;
};

}  // namespace detail
}  // namespace NEGOOD_CUDA_ABI
}  // namespace negood::thrust_backend

#endif
