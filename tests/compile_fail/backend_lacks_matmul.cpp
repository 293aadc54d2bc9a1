// expect: negood: a backend must have matmul, matmul_nt and matmul_tn on two tensors
#include <negood/backend/reference.hpp>

// Everything of the reference but the products of two tensors.
struct incomplete : private negood::reference::context<float> {
  using base = negood::reference::context<float>;
  using base::block, base::clone, base::cols, base::for_each_task, base::freeze, base::from_host, base::gather_rows;
  using base::map, base::map_cols, base::map_rows, base::name, base::paste, base::reduce_all, base::reduce_cols;
  using base::reduce_rows, base::rows, base::scatter_add_rows, base::synchronize, base::to_host, base::top_k,
      base::zeros;
  using typename base::frozen, typename base::overrides, typename base::real, typename base::tensor;
};

int main() { return negood::check_backend<incomplete>(); }
