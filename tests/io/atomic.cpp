#include "io_test.hpp"

#include <negood/io/image.hpp>
#include <negood/io/npy.hpp>
#include <negood/io/safetensors_writer.hpp>

#include <sys/stat.h>

#include <functional>

using namespace io_test;

namespace {

/// Does not wait for the disk, which these tests would do thousands of times.
class hasty_file_system : public file_system {
 public:
  int fsync(int) override { return 0; }
};

/// Writes at most 5000 bytes a call, and fails at one chosen call of all that a save makes.
class failing_file_system : public hasty_file_system {
 public:
  failing_file_system(int fail_at, int reason) : fail_at_(fail_at), reason_(reason) {}
  int calls = 0;
  int writes = 0;
  bool renamed = false;

  int open(const char* path, int flags, mode_t mode) override {
    return fails() ? -1 : file_system::open(path, flags, mode);
  }
  ssize_t write(int fd, const void* data, std::size_t size) override {
    ++writes;
    return fails() ? -1 : file_system::write(fd, data, std::min<std::size_t>(size, 5000));
  }
  int fsync(int fd) override { return fails() ? -1 : hasty_file_system::fsync(fd); }
  int close(int fd) override {
    const int result = file_system::close(fd);
    return fails() ? -1 : result;
  }
  int rename(const char* from, const char* to) override {
    if (fails()) return -1;
    renamed = true;
    return file_system::rename(from, to);
  }

 private:
  bool fails() {
    if (calls++ != fail_at_) return false;
    errno = reason_;
    return true;
  }
  int fail_at_, reason_;
};

struct writer_case {
  std::string name;
  std::function<void(const std::filesystem::path&, file_system&)> save;
};

std::vector<writer_case> all_writers() {
  return {
      {"bytes", [](const auto& p, file_system& fs) { write_file(p, byte_vector(150'000, 3), fs); }},
      {"text", [](const auto& p, file_system& fs) { write_file(p, std::string_view("a short text"), fs); }},
      {"npy matrix", [](const auto& p, file_system& fs) { write_npy(p, host_matrix<float>(300, 100, 1.0f), fs); }},
      {"npy vector", [](const auto& p, file_system& fs) { write_npy(p, std::vector<std::int64_t>(9000, 4), fs); }},
      {"safetensors",
       [](const auto& p, file_system& fs) {
         safetensors_writer w;
         w.metadata("k", "v");
         w.add("large", host_matrix<double>(200, 100, 1.0));
         w.add("small", host_matrix<float>(2, 2, 1.0f), scalar_type::f16);
         w.save(p, fs);
       }},
      {"png",
       [](const auto& p, file_system& fs) {
         image picture(120, 100);
         for (std::size_t i = 0; i < picture.rgb.size(); ++i)
           picture.rgb[i] = static_cast<std::uint8_t>((i * i * 31) >> 5);
         write_png(p, picture, fs);
       }},
  };
}

}  // namespace

TEST_CASE("F-34 ENOSPC, EIO and EDQUOT at every call of every writer leave the old file and no temporary one") {
  for (const writer_case& w : all_writers()) {
    CAPTURE(w.name);
    scratch_folder folder;
    const auto target = folder / "target.bin";
    const byte_vector old_bytes = bytes_of("the old bytes");
    failing_file_system counting(-1, 0);
    w.save(target, counting);
    const byte_vector new_bytes = read_file(target);
    hasty_file_system hasty;
    w.save(folder / "whole.bin", hasty);  // the same bytes where nothing is written in pieces
    REQUIRE(read_file(folder / "whole.bin") == new_bytes);
    std::filesystem::remove(folder / "whole.bin");
    REQUIRE(counting.writes >= (new_bytes.size() > 5000 ? 2 : 1));
    REQUIRE(counting.calls >= counting.writes + 6);  // open, sync, close, rename, open and sync of the folder
    int checked = 0;
    for (const int reason : {ENOSPC, EIO, EDQUOT})
      // The last call only closes the folder, after everything is on the disk.
      for (int i = 0; i + 1 < counting.calls; ++i) {
        CAPTURE(i, reason);
        write_file(target, byte_view(old_bytes), hasty);
        failing_file_system failing(i, reason);
        const error e = error_of([&] { w.save(target, failing); });
        CHECK(e.code() == "negood.io.6");
        CHECK(e.exit_code() == 5);
        CHECK(mentions(e, std::generic_category().message(reason)));
        CHECK(folder.entries() == 1);
        CHECK(read_file(target) == (failing.renamed ? new_bytes : old_bytes));
        ++checked;
      }
    CHECK(checked >= 3 * 7);
  }
}

TEST_CASE("F-34 a failed save of a new file leaves nothing at all") {
  scratch_folder folder;
  for (int i = 0; i < 5; ++i) {  // open, write, fsync, close, rename
    failing_file_system failing(i, ENOSPC);
    CHECK(code_of([&] { write_file(folder / "new.txt", std::string_view("x"), failing); }) == "negood.io.6");
    CHECK(folder.entries() == 0);
  }
}

TEST_CASE("saves: an abandoned writer, a missing folder, a device, a folder, modes and links") {
  scratch_folder folder;
  {
    atomic_writer w(folder / "a.txt");
    w.write("never committed");
    CHECK(folder.entries() == 1);  // the temporary file
  }
  CHECK(folder.entries() == 0);
  CHECK(code_of([&] { write_file(folder / "none" / "a.txt", std::string_view("x")); }) == "negood.io.6");
  CHECK(code_of([&] { write_file("/dev/null", std::string_view("x")); }) == "negood.io.2");
  CHECK(code_of([&] { write_file(folder.path(), std::string_view("x")); }) == "negood.io.2");

  write_file(folder / "private.txt", std::string_view("old"));
  std::filesystem::permissions(folder / "private.txt",
                               std::filesystem::perms::owner_read | std::filesystem::perms::owner_write);
  write_file(folder / "private.txt", std::string_view("new"));
  CHECK(std::filesystem::status(folder / "private.txt").permissions() ==
        (std::filesystem::perms::owner_read | std::filesystem::perms::owner_write));

  std::filesystem::create_symlink(folder / "private.txt", folder / "link.txt");
  write_file(folder / "link.txt", std::string_view("through the link"));
  CHECK(std::filesystem::is_symlink(folder / "link.txt"));
  CHECK(read_file(folder / "private.txt") == bytes_of("through the link"));
}

TEST_CASE("read_file: sizes, missing files, folders, FIFOs and devices") {
  scratch_folder folder;
  write_file(folder / "ten", std::string_view("0123456789"));
  CHECK(read_file(folder / "ten", 10) == bytes_of("0123456789"));
  const error large = error_of([&] { read_file(folder / "ten", 9); });
  CHECK(large.code() == "negood.io.3");
  CHECK(large.exit_code() == 7);
  const error missing = error_of([&] { read_file(folder / "none"); });
  CHECK(missing.code() == "negood.io.1");
  CHECK(missing.exit_code() == 5);
  CHECK(code_of([&] { read_file(folder.path()); }) == "negood.io.2");
  REQUIRE(::mkfifo((folder / "fifo").c_str(), 0600) == 0);
  CHECK(code_of([&] { read_file(folder / "fifo"); }) == "negood.io.2");  // and does not wait for a writer
  CHECK(code_of([&] { read_file("/dev/zero"); }) == "negood.io.2");
  CHECK(code_of([] { read_file("/proc/self/mem"); }) == "negood.io.4");  // regular by its mode, unreadable at 0
  CHECK(code_of([] { byte_source::from_bytes({1, 2}, "b").read_at(1, std::span<std::uint8_t>()); }).empty());
  std::uint8_t two[2] = {};
  CHECK(code_of([&] { byte_source::from_bytes({1, 2}, "b").read_at(1, two); }) == "negood.io.11");
  write_file(folder / "empty", std::string_view());
  CHECK(read_file(folder / "empty").empty());
}

TEST_CASE("a file that shrinks after it was opened is an error, not a fault") {
  scratch_folder folder;
  write_npy(folder / "m.npy", host_matrix<float>(1000, 100, 1.0f));
  const npy_file f = npy_file::open(folder / "m.npy");
  std::filesystem::resize_file(folder / "m.npy", 5000);
  CHECK(code_of([&] { f.matrix<float>(); }) == "negood.io.5");
}
