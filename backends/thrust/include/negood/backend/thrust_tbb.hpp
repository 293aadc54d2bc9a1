/// \file thrust_tbb.hpp  Thrust's TBB system: `negood::thrust_tbb::context<Real>`, where TBB was found.
#pragma once

#if defined(NEGOOD_HAVE_TBB)

#include <negood/backend/thread_pool.hpp>
#include <negood/backend/thrust/host_system.hpp>

#include <thrust/system/tbb/execution_policy.h>

#include <tbb/task_arena.h>

#include <memory>

namespace negood::thrust_backend {

struct tbb_runner {
  static constexpr std::string_view name = "thrust-tbb";
  explicit tbb_runner(index_type threads)
      : arena_(std::make_unique<::tbb::task_arena>(static_cast<int>(threads > 0 ? threads : available_threads()))) {}
  index_type threads() const { return arena_->max_concurrency(); }
  template <class F>
  void run(index_type count, const F& f) const {
    arena_->execute(
        [&] { ::thrust::for_each_n(::thrust::tbb::par, ::thrust::counting_iterator<index_type>(0), count, f); });
  }
  template <class Key>
  void sort(Key* first, Key* last) const {
    arena_->execute([&] { ::thrust::sort(::thrust::tbb::par, first, last); });
  }

 private:
  std::unique_ptr<::tbb::task_arena> arena_;
};

}  // namespace negood::thrust_backend

namespace negood::thrust_tbb {
using options = thrust_backend::host_options;
template <class Real>
using context = thrust_backend::context<thrust_backend::host_system<thrust_backend::tbb_runner>, Real>;
static_assert(check_backend<context<float>>());
static_assert(check_backend<context<double>>());
}  // namespace negood::thrust_tbb

#endif
