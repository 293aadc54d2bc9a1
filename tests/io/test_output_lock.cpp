// Two runs do not write one file (F-37).
#include "catch.hpp"

#include "io_test.hpp"

#include <negood/io/output_lock.hpp>

#include <sys/wait.h>

using namespace negood;
using io_test::code_of;

TEST_CASE("F-37 an output is locked by one holder at a time, and nothing is left behind") {
  const io_test::scratch_folder folder;
  const auto out = folder / "scores.npy";
  {
    const output_lock first(out);
    CHECK(first.held());
    CHECK(code_of([&] { output_lock second(out); }) == "negood.io.12");  // flock belongs to the open file, not to us
    CHECK(output_lock(folder / "other.npy").held());
    const auto child = ::fork();
    if (child == 0) ::_exit(code_of([&] { output_lock second(out); }) == "negood.io.12" ? 0 : 1);
    int status = -1;
    ::waitpid(child, &status, 0);
    CHECK(status == 0);
  }
  CHECK(folder.entries() == 0);
  const output_lock again(out);
  CHECK(again.held());
}

TEST_CASE("where no lock can be made there is none") {
  CHECK_FALSE(output_lock("/nonexistent-folder/scores.npy").held());
  CHECK_FALSE(output_lock("/proc/self/scores.npy").held());
}

TEST_CASE("a lock that a crash left behind is taken over") {
  const io_test::scratch_folder folder;
  write_file(folder / ".scores.npy.lock", std::string_view());
  const output_lock lock(folder / "scores.npy");
  CHECK(lock.held());
}
