/// \file onednn.hpp  One float product shape of oneDNN, made once: a block of rows times a packed right factor.
///
/// oneDNN's own threads are kept out: parallelism is over row blocks, here, so that the number of threads never shows
/// in a byte. Its float kernel sums every element in ascending order of k in one accumulator, whatever the number of
/// rows; tests/conformance/test_invariance.cpp holds it to that.
///
/// Its bfloat16 kernels are not used. oneDNN 2.6 takes the tile palette from CPUID leaf 0x1D and runs tile instructions
/// even where a virtual machine hides that leaf and the palette reads 0: the process dies of SIGILL, which no program
/// can catch. amx.hpp has the three-product bfloat16 form, which oneDNN does not offer at all.
#pragma once

#if defined(NEGOOD_HAVE_ONEDNN)

#include <negood/error.hpp>

#include <oneapi/dnnl/dnnl.hpp>

#include <map>
#include <memory>
#include <mutex>
#include <tuple>

#if defined(_OPENMP)
#include <omp.h>
#else
// Debian's oneDNN runs on OpenMP. Weak: a build of it on other threads has no such functions.
extern "C" {
void omp_set_num_threads(int) __attribute__((weak));
int omp_get_max_threads() __attribute__((weak));
}
#endif

namespace negood::eigen::detail {

/// Keeps oneDNN to the calling thread for as long as it lives, and then restores what the program had set.
class single_threaded {
 public:
  single_threaded() : before_(has_openmp() ? omp_get_max_threads() : 1) {
    if (before_ != 1) omp_set_num_threads(1);
  }
  single_threaded(const single_threaded&) = delete;
  single_threaded& operator=(const single_threaded&) = delete;
  ~single_threaded() {
    if (before_ != 1) omp_set_num_threads(before_);
  }

 private:
  static bool has_openmp() {
#if defined(_OPENMP)
    return true;
#else
    return omp_get_max_threads && omp_set_num_threads;
#endif
  }
  int before_;
};

/// c[rows, n] = a[rows, k] b[k, n] for one choice of sizes and steps. Immutable; any thread may run it.
class onednn_product {
 public:
  static constexpr index_type block_rows = 64, half_rows = 32, tail_rows = 8;

  /// The product of these sizes, from a table: making one compiles code.
  static std::shared_ptr<const onednn_product> of(index_type k, index_type n, index_type c_step) {
    static std::mutex mutex;
    static std::map<std::tuple<index_type, index_type, index_type>, std::shared_ptr<const onednn_product>> table;
    const std::lock_guard<std::mutex> lock(mutex);
    auto& entry = table[{k, n, c_step}];
    if (!entry) {
      if (table.size() > 512)
        return std::make_shared<const onednn_product>(k, n, c_step);  // bounded; rare shapes are remade
      entry = std::make_shared<const onednn_product>(k, n, c_step);
    }
    return entry;
  }

  onednn_product(index_type k, index_type n, index_type c_step)
      : k_(k),
        n_(n),
        block_(block_rows, k, n, c_step, nullptr),
        half_(half_rows, k, n, c_step, &block_.weights),
        tail_(tail_rows, k, n, c_step, &block_.weights) {}

  std::size_t packed_bytes() const { return block_.weights.get_size(); }

  /// Packs b, element (p, j) of which stands at b[p * row_step + j * col_step].
  void pack(const float* b, index_type row_step, index_type col_step, float* packed) const {
    const single_threaded guard;
    const dnnl::memory::desc plain({k_, n_}, dnnl::memory::data_type::f32, dnnl::memory::dims{row_step, col_step});
    dnnl::memory from(plain, engine(), const_cast<float*>(b)), to(block_.weights, engine(), packed);
    dnnl::stream stream(engine());
    dnnl::reorder(from, to).execute(stream, from, to);
    stream.wait();
  }

  /// `rows` is block_rows, half_rows or tail_rows; a is contiguous.
  void run(index_type rows, const float* a, const float* packed, float* c) const {
    const single_threaded guard;
    const kernel& which = rows == block_rows ? block_ : rows == half_rows ? half_ : tail_;
    thread_local std::vector<unsigned char> scratch;
    if (scratch.size() < which.scratch.get_size()) scratch.resize(which.scratch.get_size());
    thread_local dnnl::stream stream(engine());
    which.primitive.execute(stream, {{DNNL_ARG_SRC, {which.source, engine(), const_cast<float*>(a)}},
                                     {DNNL_ARG_WEIGHTS, {block_.weights, engine(), const_cast<float*>(packed)}},
                                     {DNNL_ARG_DST, {which.target, engine(), c}},
                                     {DNNL_ARG_SCRATCHPAD, {which.scratch, engine(), scratch.data()}}});
    stream.wait();
  }

 private:
  static dnnl::engine& engine() {
    static dnnl::engine e(dnnl::engine::kind::cpu, 0);
    return e;
  }

  struct kernel {
    dnnl::memory::desc source, weights, target, scratch;
    dnnl::matmul primitive;

    kernel(index_type rows, index_type k, index_type n, index_type c_step, const dnnl::memory::desc* packed) {
      using desc = dnnl::memory::desc;
      constexpr auto f32 = dnnl::memory::data_type::f32;
      const single_threaded guard;
      source = desc({rows, k}, f32, dnnl::memory::format_tag::ab);
      target = desc({rows, n}, f32, dnnl::memory::dims{c_step, 1});
      const desc right = packed ? *packed : desc({k, n}, f32, dnnl::memory::format_tag::any);
      dnnl::primitive_attr attributes;
      attributes.set_scratchpad_mode(dnnl::scratchpad_mode::user);
      const dnnl::matmul::primitive_desc chosen(dnnl::matmul::desc(source, right, target), attributes, engine());
      weights = chosen.weights_desc();
      scratch = chosen.scratchpad_desc();
      primitive = dnnl::matmul(chosen);
    }
  };

  index_type k_, n_;
  kernel block_, half_, tail_;
};

}  // namespace negood::eigen::detail

#endif
