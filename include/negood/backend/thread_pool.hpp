/// \file thread_pool.hpp  A pool of threads that runs numbered tasks, and how many threads a process may use.
#pragma once

#include <negood/config.hpp>

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <exception>
#include <fstream>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <type_traits>
#include <utility>
#include <vector>

#if defined(__linux__)
#include <sched.h>
#endif

namespace negood {

/// The threads this process may really use: the affinity mask, lowered by the CPU quota of its control group and by
/// OMP_NUM_THREADS where that is set. At least 1.
inline index_type available_threads() {
  index_type count = std::max<index_type>(1, static_cast<index_type>(std::thread::hardware_concurrency()));
#if defined(__linux__)
  cpu_set_t mask;
  CPU_ZERO(&mask);
  if (sched_getaffinity(0, sizeof(mask), &mask) == 0) count = std::clamp<index_type>(CPU_COUNT(&mask), 1, count);
  double quota = 0, period = 0;
  std::string first;
  if (std::ifstream v2("/sys/fs/cgroup/cpu.max"); v2 >> first >> period) {
    if (first != "max") quota = std::strtod(first.c_str(), nullptr);
  } else {
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_quota_us") >> quota;
    std::ifstream("/sys/fs/cgroup/cpu/cpu.cfs_period_us") >> period;
  }
  if (quota > 0 && period > 0) count = std::clamp<index_type>(static_cast<index_type>(quota / period + 0.5), 1, count);
#endif
  if (const char* limit = std::getenv("OMP_NUM_THREADS")) {
    const long wanted = std::strtol(limit, nullptr, 10);
    if (wanted > 0) count = std::min<index_type>(count, wanted);
  }
  return count;
}

/// Runs numbered tasks on a fixed set of threads; the caller is one of them.
///
/// Tasks are handed out one at a time from a counter, so which thread runs a task varies: a task must write only its
/// own results. With one thread, and when called from inside a task, everything runs in the calling thread in order.
class thread_pool {
 public:
  /// `threads` = 0 takes `available_threads()`. `on_start` runs once in every thread the pool starts.
  explicit thread_pool(index_type threads = 0, void (*on_start)() = nullptr) {
    count_ = threads > 0 ? threads : available_threads();
    workers_.reserve(static_cast<std::size_t>(count_ - 1));
    try {
      for (index_type i = 1; i < count_; ++i)
        workers_.emplace_back([this, i, on_start] {
          if (on_start) on_start();
          work(i);
        });
    } catch (...) {
      stop();
      throw;
    }
  }
  thread_pool(const thread_pool&) = delete;
  thread_pool& operator=(const thread_pool&) = delete;
  ~thread_pool() { stop(); }

  index_type threads() const noexcept { return count_; }

  /// True in a thread that is at present running a task of this pool.
  bool inside() const noexcept { return current().pool == this; }

  /// Calls `body(worker, i)` for every i in [0, count), where worker in [0, threads()) names the thread, and returns
  /// when all are done. The first exception is rethrown here, after the tasks already begun have ended; tasks not begun
  /// are dropped.
  template <class Body>
  void parallel_for(index_type count, Body&& body) {
    if (count <= 0) return;
    std::unique_lock<std::mutex> turn(turn_, std::defer_lock);
    const bool nested = inside();
    if (nested || count_ == 1 || count == 1 || !turn.try_lock()) {
      const index_type worker = nested ? current().worker : 0;
      const scope mark(this, worker);
      for (index_type i = 0; i < count; ++i) body(worker, i);
      return;
    }
    job task;
    task.count = count;
    task.body = const_cast<void*>(static_cast<const void*>(std::addressof(body)));
    task.call = [](void* f, index_type worker, index_type i) {
      (*static_cast<std::remove_reference_t<Body>*>(f))(worker, i);
    };
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      job_ = &task;
      running_.store(static_cast<index_type>(workers_.size()), std::memory_order_relaxed);
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    run(task, 0);
    for (int spin = 0; spin < spins && running_.load(std::memory_order_acquire) > 0; ++spin) relax();
    if (running_.load(std::memory_order_acquire) > 0) {
      std::unique_lock<std::mutex> lock(mutex_);
      done_.wait(lock, [&] { return running_.load(std::memory_order_acquire) == 0; });
    }
    if (task.error) std::rethrow_exception(task.error);
  }

 private:
  struct job {
    index_type count = 0;
    void* body = nullptr;
    void (*call)(void*, index_type, index_type) = nullptr;
    std::atomic<index_type> next{0};
    std::mutex error_mutex;
    std::exception_ptr error;
  };
  struct place {
    const thread_pool* pool = nullptr;
    index_type worker = 0;
  };
  static place& current() noexcept {
    thread_local place p;
    return p;
  }
  struct scope {
    place before;
    scope(const thread_pool* pool, index_type worker) : before(current()) { current() = {pool, worker}; }
    ~scope() { current() = before; }
    scope(const scope&) = delete;
    scope& operator=(const scope&) = delete;
  };
  /// About 30 microseconds: the gap between two products of one layer, shorter than waking a sleeping thread.
  static constexpr int spins = 1000;
  static void relax() noexcept {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#else
    std::this_thread::yield();
#endif
  }

  void run(job& task, index_type worker) {
    const scope mark(this, worker);
    for (index_type i; (i = task.next.fetch_add(1, std::memory_order_relaxed)) < task.count;) {
      try {
        task.call(task.body, worker, i);
      } catch (...) {
        task.next.store(task.count, std::memory_order_relaxed);
        const std::lock_guard<std::mutex> lock(task.error_mutex);
        if (!task.error) task.error = std::current_exception();
      }
    }
  }

  void work(index_type worker) {
    std::uint64_t seen = 0;
    for (;;) {
      for (int spin = 0; spin < spins && generation_.load(std::memory_order_acquire) == seen; ++spin) relax();
      job* task = nullptr;
      {
        std::unique_lock<std::mutex> lock(mutex_);
        wake_.wait(lock, [&] { return stopping_ || generation_.load(std::memory_order_relaxed) != seen; });
        if (stopping_) return;
        seen = generation_.load(std::memory_order_relaxed);
        task = job_;
      }
      run(*task, worker);
      // The last to leave signals under the lock, so that the caller cannot miss it; the job is not touched afterwards.
      const std::lock_guard<std::mutex> lock(mutex_);
      if (running_.fetch_sub(1, std::memory_order_acq_rel) == 1) done_.notify_one();
    }
  }

  void stop() {
    {
      const std::lock_guard<std::mutex> lock(mutex_);
      stopping_ = true;
      generation_.fetch_add(1, std::memory_order_release);
    }
    wake_.notify_all();
    for (std::thread& t : workers_) t.join();
    workers_.clear();
  }

  index_type count_ = 1;
  std::vector<std::thread> workers_;
  std::mutex turn_;   ///< one job at a time; a second caller runs its tasks itself
  std::mutex mutex_;  ///< guards job_ and stopping_
  std::condition_variable wake_, done_;
  std::atomic<std::uint64_t> generation_{0};
  std::atomic<index_type> running_{0};
  job* job_ = nullptr;
  bool stopping_ = false;
};

}  // namespace negood
