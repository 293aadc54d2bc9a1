/// \file output_lock.hpp  One process at a time makes a file.
#pragma once

#include <negood/io/atomic_file.hpp>

#include <sys/file.h>

namespace negood {

/// Holds `.NAME.lock` beside an output for as long as it lives, and removes it then. Advisory: it keeps two runs of
/// programs that ask for it from working on the same file. Where the folder takes no file (missing, read-only, /dev)
/// there is no lock: the save itself will say what is wrong.
/// \throws error negood.io.12 (category io) where another process holds it
class output_lock {
 public:
  explicit output_lock(const std::filesystem::path& output) {
    const auto folder = output.parent_path();
    path_ = folder / ("." + output.filename().string() + ".lock");
    for (;;) {
      fd_ = detail::descriptor(::open(path_.c_str(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0666));
      if (fd_.get() < 0) return;
      if (::flock(fd_.get(), LOCK_EX | LOCK_NB) != 0) {
        const int reason = errno;
        fd_ = detail::descriptor();
        if (reason != EWOULDBLOCK) return;  // file systems without locks
        fail(error_category::io, "negood.io.12", output.string(), "another process is writing it",
             "wait for it, or choose another output");
      }
      // The holder before us removes the name on its way out; a lock on a file without a name guards nothing.
      struct stat held = {}, named = {};
      if (::fstat(fd_.get(), &held) == 0 && ::stat(path_.c_str(), &named) == 0 && held.st_ino == named.st_ino &&
          held.st_dev == named.st_dev)
        return;
    }
  }
  output_lock(output_lock&& other) noexcept = default;
  output_lock& operator=(output_lock&&) = delete;
  ~output_lock() {
    if (fd_.get() >= 0) ::unlink(path_.c_str());  // while it is still locked
  }

  bool held() const noexcept { return fd_.get() >= 0; }

 private:
  std::filesystem::path path_;
  detail::descriptor fd_;
};

}  // namespace negood
