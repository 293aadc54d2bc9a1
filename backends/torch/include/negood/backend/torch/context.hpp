/// \file context.hpp  The context of the LibTorch backend, on a processor or a CUDA device.
///
/// On a processor the memory and the products are ATen's and the rest are the kernels of negood/backend/kernels/ on
/// ATen's threads: ATen's own vector loops treat the last elements of an array otherwise than the rest, so that a row's
/// bytes would depend on how many rows there are. On a device, and with `.kernels = false`, all of it is ATen
/// operations.
#pragma once

#include <negood/backend/kernels/overrides.hpp>
#include <negood/backend/kernels/primitives.hpp>
#include <negood/backend/torch/device_algorithms.hpp>
#include <negood/backend/torch/elements.hpp>
#include <negood/backend/torch/tensor.hpp>

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <algorithm>
#include <concepts>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace negood::libtorch {

struct options {
  std::string device = "cpu";  ///< as LibTorch writes them: "cpu", "cuda", "cuda:1"
  index_type threads = 0;  ///< of ATen, for the whole process; 0 leaves what is set (Debian's LibTorch starts with 1)
  bool kernels = true;     ///< on a processor: negood's kernels where ATen's bytes depend on the batch
};

namespace detail {
template <class List, class... More>
struct extended;
template <class... Algorithms, class... More>
struct extended<override_list<Algorithms...>, More...> {
  using type = override_list<Algorithms..., More...>;
};
template <class Algorithm, class... Algorithms>
concept one_of = (std::same_as<Algorithm, Algorithms> || ...);
}  // namespace detail

/// One thread of the program uses a context at a time. No operation records a graph.
///
/// `More` are algorithms that it overrides beside those of the kernels: `run_declared(ctx, algorithm, arguments...)`,
/// in a header of its own, so that the context need not include what that needs (optim.hpp).
///
/// Bytes depend neither on the threads nor on the other rows on a processor with `.kernels = true`, as long as ATen's
/// BLAS gives equal bytes for equal shapes. Elsewhere they may.
template <class Real, class... More>
class context : kernel::primitives<context<Real, More...>, libtorch::tensor<Real>, Real> {
  using kernels = kernel::primitives<context, libtorch::tensor<Real>, Real>;
  friend kernels;

 public:
  using real = Real;
  using tensor = libtorch::tensor<Real>;
  /// A constant matrix.
  struct frozen {
    tensor values;
  };
  using overrides = typename detail::extended<kernel::overrides_by_kernels, More...>::type;
  static constexpr bool index_per_element = false;

  explicit context(options o = {})
      : options_(at::TensorOptions().dtype(scalar_type<Real>).device(at::Device(o.device))),
        by_kernels_(o.kernels && options_.device().is_cpu()) {
    if (o.threads > 0) at::set_num_threads(static_cast<int>(o.threads));
  }
  context(context&&) noexcept = default;
  context& operator=(context&&) noexcept = default;

  static constexpr std::string_view name() { return "torch"; }
  at::Device device() const { return options_.device(); }

  tensor from_host(host_view<Real> h) {
    tensor out = uninitialised(h.rows, h.cols);
    if (h.size() > 0) {
      const at::Tensor there =
          at::from_blob(const_cast<Real*>(h.data), {h.rows, h.cols}, at::TensorOptions().dtype(scalar_type<Real>));
      at::Tensor(out.torch()).copy_(there);
    }
    return out;
  }
  host_matrix<Real> to_host(const tensor& t) {
    host_matrix<Real> out(t.rows(), t.cols());
    if (out.size() == 0) return out;
    const at::Tensor here = t.torch().to(at::kCPU).contiguous();
    std::memcpy(out.data(), here.template data_ptr<Real>(), static_cast<std::size_t>(out.size()) * sizeof(Real));
    return out;
  }
  tensor zeros(index_type rows, index_type cols) {
    host::checked_size(rows, cols);
    return tensor::adopt(at::zeros({rows, cols}, options_));
  }
  tensor clone(const tensor& t) { return tensor::adopt(t.torch().clone(at::MemoryFormat::Contiguous)); }
  index_type rows(const tensor& t) const { return t.rows(); }
  index_type cols(const tensor& t) const { return t.cols(); }
  index_type rows(const frozen& w) const { return w.values.rows(); }
  index_type cols(const frozen& w) const { return w.values.cols(); }

  tensor matmul(const tensor& a, const tensor& b) {
    require_shape(a.cols() == b.rows(), "matmul", "a", a.rows(), a.cols(), "b", b.rows(), b.cols(),
                  "inner sizes must match");
    return product(a, false, b.torch());
  }
  tensor matmul_nt(const tensor& a, const tensor& b) {
    require_shape(a.cols() == b.cols(), "matmul_nt", "a", a.rows(), a.cols(), "b", b.rows(), b.cols(),
                  "widths must match");
    return product(a, false, b.torch().t());
  }
  tensor matmul_tn(const tensor& a, const tensor& b) {
    require_shape(a.rows() == b.rows(), "matmul_tn", "a", a.rows(), a.cols(), "b", b.rows(), b.cols(),
                  "heights must match");
    return product(a, true, b.torch());
  }
  frozen freeze(const tensor& w) { return {clone(w)}; }
  tensor matmul(const tensor& x, const frozen& w) { return matmul(x, w.values); }
  tensor matmul_nt(const tensor& x, const frozen& w) { return matmul_nt(x, w.values); }

  template <class F>
  tensor map(F f, const tensor& a) {
    if (by_kernels_) return kernels::map(f, a);
    return tensor::adopt(apply(f, a.torch()));
  }
  template <class F>
  tensor map(F f, const tensor& a, const tensor& b) {
    if (by_kernels_) return kernels::map(f, a, b);
    require_shape(a.rows() == b.rows() && a.cols() == b.cols(), "map", "a", a.rows(), a.cols(), "b", b.rows(), b.cols(),
                  "shapes must be equal");
    return tensor::adopt(apply(f, a.torch(), b.torch()));
  }
  template <class F>
  tensor map_rows(F f, const tensor& a, const tensor& v) {
    if (by_kernels_) return kernels::map_rows(f, a, v);
    require_shape(v.rows() == a.rows() && v.cols() == 1, "map_rows", "a", a.rows(), a.cols(), "v", v.rows(), v.cols(),
                  "v must be [rows, 1]");
    return tensor::adopt(apply(f, a.torch(), v.torch()));
  }
  template <class F>
  tensor map_cols(F f, const tensor& a, const tensor& v) {
    if (by_kernels_) return kernels::map_cols(f, a, v);
    require_shape(v.cols() == a.cols() && v.rows() == 1, "map_cols", "a", a.rows(), a.cols(), "v", v.rows(), v.cols(),
                  "v must be [1, cols]");
    return tensor::adopt(apply(f, a.torch(), v.torch()));
  }

  template <class R>
  tensor reduce_rows(R f, const tensor& a) {
    if (by_kernels_) return kernels::reduce_rows(f, a);
    return tensor::adopt(reduce(f, a.torch(), 1));
  }
  template <class R>
  tensor reduce_cols(R f, const tensor& a) {
    if (by_kernels_) return kernels::reduce_cols(f, a);
    return tensor::adopt(reduce(f, a.torch(), 0));
  }
  template <class R>
  tensor reduce_all(R f, const tensor& a) {
    if (by_kernels_) return kernels::reduce_all(f, a);
    return tensor::adopt(reduce(f, reduce(f, a.torch(), 1), 0));
  }

  tensor gather_rows(const tensor& a, std::span<const index_type> which) {
    host::check_rows("gather_rows", which, a.rows());
    return tensor::adopt(a.torch().index_select(0, index_tensor(which, device())));
  }
  void scatter_add_rows(tensor& out, std::span<const index_type> which, const tensor& a) {
    if (by_kernels_) return kernels::scatter_add_rows(out, which, a);
    require_shape(a.cols() == out.cols() && a.rows() == static_cast<index_type>(which.size()), "scatter_add_rows",
                  "out", out.rows(), out.cols(), "a", a.rows(), a.cols(),
                  "widths must match, and a has a row for each index");
    host::check_rows("scatter_add_rows", which, out.rows());
    // On a device index_add_ would add in the order in which its threads come.
    if (device().is_cpu())
      at::Tensor(out.torch()).index_add_(0, index_tensor(which, device()), a.torch());
    else
      at::Tensor(out.torch()).index_put_({index_tensor(which, device())}, a.torch(), /*accumulate=*/true);
  }
  tensor block(const tensor& a, index_type r0, index_type c0, index_type count, index_type width) {
    host::check_rectangle("block", a.rows(), a.cols(), r0, c0, count, width);
    return tensor::adopt(a.torch().narrow(0, r0, count).narrow(1, c0, width).clone(at::MemoryFormat::Contiguous));
  }
  void paste(tensor& out, const tensor& a, index_type r0, index_type c0) {
    host::check_rectangle("paste", out.rows(), out.cols(), r0, c0, a.rows(), a.cols());
    out.torch().narrow(0, r0, a.rows()).narrow(1, c0, a.cols()).copy_(a.torch());
  }
  top_k_result<Real> top_k(const tensor& a, index_type k) {
    const auto here = to_host(a);
    const index_type n = here.rows(), c = here.cols();
    k = std::clamp<index_type>(k, 0, c);
    top_k_result<Real> out{host_matrix<Real>(n, k), host_matrix<index_type>(n, k)};
    for_each_index(n, 16 * c, [&](index_type r) {
      host::top_of_row(here.data() + r * c, c, k, out.values.data() + r * k, out.indices.data() + r * k);
    });
    return out;
  }

  /// Tasks run one after the other; each operation inside uses ATen's threads.
  template <class Task>
  void for_each_task(index_type count, Task&& task) {
    for (index_type i = 0; i < count; ++i) task(*this, i);
  }
  /// On a device: waits for its current stream, by fetching a value.
  void synchronize() {
    if (!device().is_cpu()) at::zeros({1}, options_).to(at::kCPU);
  }

  template <class Algorithm, class... Arguments>
  requires requires(context& ctx, Algorithm a, Arguments&&... args) {
    kernel::run(ctx, a, std::forward<Arguments>(args)...);
  }
  auto fused(Algorithm algorithm, Arguments&&... arguments) {
    if (by_kernels_) return kernel::run(*this, algorithm, std::forward<Arguments>(arguments)...);
    if constexpr (requires { run_on_device(*this, algorithm, std::forward<Arguments>(arguments)...); })
      return run_on_device(*this, algorithm, std::forward<Arguments>(arguments)...);
    else
      return Algorithm::generic(*this, std::forward<Arguments>(arguments)...);
  }
  template <detail::one_of<More...> Algorithm, class... Arguments>
  auto fused(Algorithm algorithm, Arguments&&... arguments) {
    return run_declared(*this, algorithm, std::forward<Arguments>(arguments)...);
  }

  // For the kernels.

  tensor uninitialised(index_type rows, index_type cols) {
    host::checked_size(rows, cols);
    return tensor::adopt(at::empty({rows, cols}, options_));
  }
  std::vector<index_type> indices(std::vector<index_type> values) { return values; }
  template <class Kernel>
  void for_each_index(index_type n, index_type work, const Kernel& kernel) {
    constexpr index_type task_work = 1 << 14;
    at::parallel_for(0, n, std::max<index_type>(1, task_work / std::max<index_type>(work, 1)),
                     [&](index_type first, index_type end) {
                       for (index_type i = first; i < end; ++i) kernel(i);
                     });
  }

 private:
  /// a b or a' b; `right` is `[k, n]`, perhaps a transposed view.
  tensor product(const tensor& a, bool transposed, const at::Tensor& right) {
    if (!by_kernels_) return tensor::adopt(at::mm(transposed ? a.torch().t() : a.torch(), right));
    const index_type m = transposed ? a.cols() : a.rows(), k = transposed ? a.rows() : a.cols(), n = right.size(1);
    tensor out = uninitialised(m, n);
    const auto gemm = [&](index_type rows, const Real* block, Real* to) {
      at::Tensor result = at::from_blob(to, {rows, n}, options_);
      at::mm_out(result, at::from_blob(const_cast<Real*>(block), {rows, k}, options_), right);
    };
    const auto run = [&](index_type blocks, auto&& f) {
      const host::one_blas_thread guard;
      for_each_index(blocks, 64 * n * k, f);
    };
    const host::strided<Real> left =
        transposed ? host::strided<Real>{a.data(), 1, m} : host::strided<Real>{a.data(), k, 1};
    host::product_in_blocks(run, m, n, k, left, out.data(), gemm);
    return out;
  }

  at::TensorOptions options_;
  bool by_kernels_;
};

}  // namespace negood::libtorch
