// A complete backend: std::vector for memory, one std::thread for each share of the work, a plain product.
//
// Most members come from kernel::primitives and most algorithms from kernel::overrides_by_kernels: what is left to
// write is memory, how an index space runs, and the matrix product. tests/conformance/ runs on it as on the others.
#include <negood/backend/kernels/overrides.hpp>
#include <negood/backend/kernels/primitives.hpp>
#include <negood/score/scores.hpp>

#include <iostream>
#include <thread>

namespace example {

using negood::index_type;

/// A row-major matrix that moves. `host_matrix` would do; here it is written out.
template <class Real>
struct matrix {
  index_type row_count = 0, col_count = 0;
  std::vector<Real> values;
  matrix() = default;
  matrix(index_type r, index_type c) : row_count(r), col_count(c), values(static_cast<std::size_t>(r * c)) {}
  matrix(matrix&&) = default;
  matrix& operator=(matrix&&) = default;
  Real* data() { return values.data(); }
  const Real* data() const { return values.data(); }
};

/// c_ij = sum_k a_ik b_kj as a kernel: one index is one row of the result. Steps say where the next row and column
/// stand.
template <class Real>
struct product_row {
  const Real *a, *b;
  index_type a_row, a_col, b_row, b_col, n, k;
  Real* c;
  void operator()(index_type i) const {
    for (index_type p = 0; p < k; ++p)
      for (index_type j = 0; j < n; ++j) c[i * n + j] += a[i * a_row + p * a_col] * b[p * b_row + j * b_col];
  }
};

template <class Real>
class context : public negood::kernel::primitives<context<Real>, matrix<Real>, Real> {
 public:
  using real = Real;
  using tensor = matrix<Real>;
  struct frozen {  // a type of its own, though nothing is packed
    tensor values;
  };
  using overrides = negood::kernel::overrides_by_kernels;
  static constexpr bool index_per_element = false;  // an index is a row: there are few threads

  explicit context(index_type threads = 2) : threads_(threads) {}
  static constexpr std::string_view name() { return "example"; }

  // Memory.
  tensor from_host(negood::host_view<Real> h) {
    tensor out(h.rows, h.cols);
    std::copy_n(h.data, h.size(), out.data());
    return out;
  }
  negood::host_matrix<Real> to_host(const tensor& t) { return {t.row_count, t.col_count, t.values}; }
  tensor uninitialised(index_type r, index_type c) { return tensor(r, c); }
  std::vector<index_type> indices(std::vector<index_type> v) { return v; }
  index_type rows(const tensor& t) const { return t.row_count; }
  index_type cols(const tensor& t) const { return t.col_count; }
  index_type rows(const frozen& w) const { return w.values.row_count; }
  index_type cols(const frozen& w) const { return w.values.col_count; }

  // Work: kernel(i) for i in [0, n), each index about `work` multiplications.
  template <class Kernel>
  void for_each_index(index_type n, index_type work, const Kernel& kernel) {
    const index_type shares = n * work < 100000 ? 1 : std::min(threads_, n);
    std::vector<std::thread> others;
    for (index_type s = 0; s < shares; ++s) {
      const auto share = [&kernel, first = n * s / shares, end = n * (s + 1) / shares] {
        for (index_type i = first; i < end; ++i) kernel(i);
      };
      if (s + 1 < shares)
        others.emplace_back(share);
      else
        share();
    }
    for (std::thread& t : others) t.join();
  }
  template <class Task>
  void for_each_task(index_type n, Task&& task) {
    for (index_type i = 0; i < n; ++i) task(*this, i);
  }
  void synchronize() {}

  // Products.
  tensor matmul(const tensor& a, const tensor& b) {
    negood::require_shape(cols(a) == rows(b), "matmul", "a", rows(a), cols(a), "b", rows(b), cols(b), "inner sizes");
    return product(rows(a), {a.data(), b.data(), cols(a), 1, cols(b), 1, cols(b), cols(a), nullptr});
  }
  tensor matmul_nt(const tensor& a, const tensor& b) {
    negood::require_shape(cols(a) == cols(b), "matmul_nt", "a", rows(a), cols(a), "b", rows(b), cols(b), "widths");
    return product(rows(a), {a.data(), b.data(), cols(a), 1, 1, cols(b), rows(b), cols(a), nullptr});
  }
  tensor matmul_tn(const tensor& a, const tensor& b) {
    negood::require_shape(rows(a) == rows(b), "matmul_tn", "a", rows(a), cols(a), "b", rows(b), cols(b), "heights");
    return product(cols(a), {a.data(), b.data(), 1, cols(a), cols(b), 1, cols(b), rows(a), nullptr});
  }
  frozen freeze(const tensor& w) { return {this->clone(w)}; }
  tensor matmul(const tensor& x, const frozen& w) { return matmul(x, w.values); }
  tensor matmul_nt(const tensor& x, const frozen& w) { return matmul_nt(x, w.values); }

  negood::top_k_result<Real> top_k(const tensor& a, index_type k) {
    k = std::min(k, cols(a));
    negood::top_k_result<Real> out{{rows(a), k}, {rows(a), k}};
    for (index_type r = 0; r < rows(a); ++r)
      negood::host::top_of_row(a.data() + r * cols(a), cols(a), k, out.values.data() + r * k,
                               out.indices.data() + r * k);
    return out;
  }

  // The declared algorithms in one pass; a backend with a better one lists and calls its own.
  template <class Algorithm, class... Arguments>
  requires requires(context& ctx, Algorithm algorithm, Arguments&&... arguments) {
    negood::kernel::run(ctx, algorithm, std::forward<Arguments>(arguments)...);
  }
  auto fused(Algorithm algorithm, Arguments&&... arguments) {
    return negood::kernel::run(*this, algorithm, std::forward<Arguments>(arguments)...);
  }

 private:
  tensor product(index_type m, product_row<Real> kernel) {
    tensor c(m, kernel.n);
    kernel.c = c.data();
    for_each_index(m, kernel.n * kernel.k, kernel);
    return c;
  }
  index_type threads_;
};
static_assert(negood::check_backend<context<float>>());  // says in a sentence what is missing

}  // namespace example

#ifndef NEGOOD_EXAMPLE_WITHOUT_MAIN
int main() {
  example::context<float> ctx(2);
  const negood::host_matrix<float> classes(2, 3, {1, 0, 0, 0, 1, 0}), image(1, 3, {0.8F, 0.6F, 0});
  const auto bank = negood::make_prompt_bank(ctx, ctx.from_host(classes), ctx.zeros(0, 3), 10.0);
  std::cout << "maximum softmax probability " << ctx.to_host(negood::msp{}(ctx, ctx.from_host(image), bank))(0, 0)
            << '\n';
}
#endif
