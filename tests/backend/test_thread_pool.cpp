#include <negood/backend/precision.hpp>
#include <negood/backend/thread_pool.hpp>

#include <numeric>
#include <stdexcept>
#include <string>

#include "catch.hpp"

using namespace negood;

TEST_CASE("every task runs once, in a worker within range", "[backend]") {
  for (const index_type threads : {1, 2, 5}) {
    thread_pool pool(threads);
    CHECK(pool.threads() == threads);
    for (const index_type count : {0, 1, 2, 3, 100, 5000}) {
      std::vector<int> runs(static_cast<std::size_t>(count), 0);
      std::vector<index_type> worker(static_cast<std::size_t>(count), -1);
      pool.parallel_for(count, [&](index_type w, index_type i) {
        ++runs[static_cast<std::size_t>(i)];
        worker[static_cast<std::size_t>(i)] = w;
      });
      CHECK(std::all_of(runs.begin(), runs.end(), [](int n) { return n == 1; }));
      CHECK(std::all_of(worker.begin(), worker.end(), [&](index_type w) { return w >= 0 && w < threads; }));
    }
  }
}

TEST_CASE("many short jobs follow one another", "[backend]") {
  thread_pool pool(3);
  std::atomic<index_type> total{0};
  for (index_type job = 0; job < 2000; ++job) pool.parallel_for(4, [&](index_type, index_type i) { total += i; });
  CHECK(total == 2000 * 6);
}

TEST_CASE("an exception reaches the caller, and the pool goes on", "[backend]") {
  for (const index_type threads : {1, 4}) {
    thread_pool pool(threads);
    for (int repeat = 0; repeat < 20; ++repeat) {
      std::string caught;
      try {
        pool.parallel_for(50, [](index_type, index_type i) {
          if (i == 17) throw std::runtime_error("seventeen");
        });
      } catch (const std::runtime_error& e) {
        caught = e.what();
      }
      CHECK(caught == "seventeen");
    }
    std::atomic<int> runs{0};
    pool.parallel_for(10, [&](index_type, index_type) { ++runs; });
    CHECK(runs == 10);
    CHECK_FALSE(pool.inside());
  }
}

TEST_CASE("a job started inside a task runs in that thread, in order", "[backend]") {
  thread_pool pool(4);
  std::atomic<int> wrong{0};
  pool.parallel_for(40, [&](index_type worker, index_type) {
    if (!pool.inside()) ++wrong;
    index_type expected = 0;
    pool.parallel_for(5, [&](index_type inner, index_type i) {
      if (inner != worker || i != expected++) ++wrong;
    });
    if (expected != 5) ++wrong;
  });
  CHECK(wrong == 0);
}

TEST_CASE("two pools and two callers do not disturb one another", "[backend]") {
  thread_pool outer(2), inner(3);
  std::atomic<int> runs{0};
  outer.parallel_for(8,
                     [&](index_type, index_type) { inner.parallel_for(10, [&](index_type, index_type) { ++runs; }); });
  CHECK(runs == 80);
  std::thread other([&] {
    for (int i = 0; i < 100; ++i) inner.parallel_for(10, [&](index_type, index_type) { ++runs; });
  });
  for (int i = 0; i < 100; ++i) inner.parallel_for(10, [&](index_type, index_type) { ++runs; });
  other.join();
  CHECK(runs == 80 + 2000);
}

TEST_CASE("a pool runs its start function in each thread it starts", "[backend]") {
  static std::atomic<int> starts{0};
  starts = 0;
  {
    thread_pool pool(4, [] { ++starts; });
  }
  CHECK(starts == 3);
}

TEST_CASE("OMP_NUM_THREADS lowers the number of threads, and never below one", "[backend]") {
  const char* before = std::getenv("OMP_NUM_THREADS");
  const std::string saved = before ? before : "";
  setenv("OMP_NUM_THREADS", "1", 1);
  CHECK(available_threads() == 1);
  for (const char* useless : {"0", "-3", "many", ""}) {
    setenv("OMP_NUM_THREADS", useless, 1);
    CHECK(available_threads() >= 1);
  }
  setenv("OMP_NUM_THREADS", "100000", 1);
  CHECK(available_threads() <= std::max<index_type>(1, static_cast<index_type>(std::thread::hardware_concurrency())));
  if (before)
    setenv("OMP_NUM_THREADS", saved.c_str(), 1);
  else
    unsetenv("OMP_NUM_THREADS");
}

TEST_CASE("precisions are read and written by name", "[backend]") {
  for (const precision p : {precision::f32, precision::bf16x3, precision::bf16, precision::f64})
    CHECK(parse_precision(format_precision(p)) == p);
  CHECK_THROWS_WITH(parse_precision("fp8"), Catch::Contains("negood.backend.1") && Catch::Contains("'fp8'"));
  CHECK_THROWS_AS(parse_precision(""), negood::error);
}
