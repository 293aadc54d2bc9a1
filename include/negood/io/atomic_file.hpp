/// \file atomic_file.hpp  Reading whole regular files, and saves that leave the old file or the new one, never a part.
#pragma once

#include <negood/io/bytes.hpp>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>

namespace negood {

/// The system calls of a save. Tests pass a derived object that fails at a chosen call; everybody else uses the
/// default.
struct file_system {
  virtual ~file_system() = default;
  virtual int open(const char* path, int flags, mode_t mode) { return ::open(path, flags, mode); }
  virtual ssize_t write(int fd, const void* data, std::size_t size) { return ::write(fd, data, size); }
  virtual int fsync(int fd) { return ::fsync(fd); }
  virtual int close(int fd) { return ::close(fd); }
  virtual int rename(const char* from, const char* to) { return ::rename(from, to); }
  virtual int unlink(const char* path) { return ::unlink(path); }
};

inline file_system& default_file_system() {
  static file_system calls;
  return calls;
}

namespace detail {

[[noreturn]] inline void fail_errno(std::string_view code, const std::filesystem::path& path, std::string_view what,
                                    int number, std::string_view hint = {}) {
  fail(error_category::io, code, path.string(),
       std::string(what) + ": " + std::error_code(number, std::generic_category()).message(), hint);
}

/// A file descriptor that closes itself.
class descriptor {
 public:
  explicit descriptor(int fd = -1) noexcept : fd_(fd) {}
  descriptor(descriptor&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  descriptor& operator=(descriptor&& other) noexcept {
    std::swap(fd_, other.fd_);
    return *this;
  }
  ~descriptor() {
    if (fd_ >= 0) ::close(fd_);
  }
  int get() const noexcept { return fd_; }

 private:
  int fd_;
};

struct opened_file {
  descriptor fd;
  std::uint64_t size = 0;
};

/// Opens a regular file for reading. O_NONBLOCK keeps a FIFO from blocking before it is refused.
inline opened_file open_regular(const std::filesystem::path& path, std::uint64_t max_bytes) {
  opened_file out;
  out.fd = descriptor(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY));
  if (out.fd.get() < 0) fail_errno("negood.io.1", path, "cannot open", errno);
  struct stat info = {};
  if (::fstat(out.fd.get(), &info) != 0) fail_errno("negood.io.1", path, "cannot stat", errno);
  if (!S_ISREG(info.st_mode))
    fail(error_category::io, "negood.io.2", path.string(),
         S_ISDIR(info.st_mode) ? "is a directory" : "is not a regular file", "give the path of a regular file");
  out.size = static_cast<std::uint64_t>(info.st_size);
  if (out.size > max_bytes)
    fail(error_category::resource, "negood.io.3", path.string(),
         std::to_string(out.size) + " bytes; the limit is " + std::to_string(max_bytes),
         "raise the limit if you trust it");
  return out;
}

/// Fills `out` from `offset` on; false where the file ends before.
inline bool read_at(int fd, std::uint64_t offset, std::span<std::uint8_t> out, const std::filesystem::path& path) {
  std::size_t done = 0;
  while (done < out.size()) {
    const ssize_t n = ::pread(fd, out.data() + done, out.size() - done, static_cast<off_t>(offset + done));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) fail_errno("negood.io.4", path, "cannot read", errno);
    if (n == 0) return false;
    done += static_cast<std::size_t>(n);
  }
  return true;
}

}  // namespace detail

/// All bytes of a regular file of at most `max_bytes`; directories, devices and FIFOs are refused.
/// \throws error negood.io.1 cannot open, .2 not a regular file, .3 too large, .4 cannot read, .5 changed meanwhile
inline byte_vector read_file(const std::filesystem::path& path, std::uint64_t max_bytes = std::uint64_t{1} << 30) {
  const detail::opened_file file = detail::open_regular(path, max_bytes);
  byte_vector out(static_cast<std::size_t>(file.size));
  std::uint8_t beyond = 0;
  if (!detail::read_at(file.fd.get(), 0, out, path) ||
      detail::read_at(file.fd.get(), file.size, std::span<std::uint8_t>(&beyond, 1), path))
    fail(error_category::io, "negood.io.5", path.string(), "changed its size while it was read");
  return out;
}

/// Writes a file so that its name always stands for the old bytes or for all of the new ones.
///
/// Bytes go to a temporary file beside the target; `commit` syncs it, renames it over the target and syncs the
/// directory. Without a successful commit the temporary file is removed and the target is as it was.
/// \throws error negood.io.6 (category io) where a system call fails, with its reason
class atomic_writer {
 public:
  explicit atomic_writer(std::filesystem::path target, file_system& calls = default_file_system())
      : calls_(calls), target_(std::move(target)) {
    namespace fs = std::filesystem;
    std::error_code ignored;
    if (fs::is_symlink(target_, ignored)) {  // a save through a link replaces the file it points to, not the link
      const fs::path real = fs::canonical(target_, ignored);
      if (!ignored) target_ = real;
    }
    mode_t mode = 0666;
    struct stat info = {};
    if (::stat(target_.c_str(), &info) == 0) {
      if (!S_ISREG(info.st_mode))
        fail(error_category::io, "negood.io.2", target_.string(), "exists and is not a regular file");
      mode = info.st_mode & 07777;
    }
    static std::atomic<unsigned> counter{0};
    for (int attempt = 0; attempt < 100 && fd_ < 0; ++attempt) {
      temporary_ =
          directory() / (".negood-" + std::to_string(::getpid()) + "-" + std::to_string(counter.fetch_add(1)) + ".tmp");
      fd_ = calls_.open(temporary_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, mode);
      if (fd_ < 0 && errno != EEXIST && errno != EINTR) break;
    }
    if (fd_ < 0) {
      temporary_.clear();
      detail::fail_errno("negood.io.6", target_, "cannot create a temporary file beside it", errno);
    }
    buffer_.reserve(buffer_bytes);
  }

  atomic_writer(const atomic_writer&) = delete;
  atomic_writer& operator=(const atomic_writer&) = delete;
  ~atomic_writer() { abandon(); }

  void write(byte_view bytes) {
    if (buffer_.size() + bytes.size() <= buffer_bytes) {
      buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
      return;
    }
    flush();
    if (bytes.size() < buffer_bytes)
      buffer_.insert(buffer_.end(), bytes.begin(), bytes.end());
    else
      write_through(bytes);
  }
  void write(std::string_view text) { write(as_byte_view(text)); }

  /// Makes the new bytes the file. After an error in here the target is the old file or, whole, the new one.
  void commit() {
    flush();
    if (calls_.fsync(fd_) != 0) stop("cannot sync the temporary file");
    if (calls_.close(std::exchange(fd_, -1)) != 0) stop("cannot close the temporary file");
    if (calls_.rename(temporary_.c_str(), target_.c_str()) != 0) stop("cannot rename the temporary file");
    temporary_.clear();
    const int dir = calls_.open(directory().c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
    if (dir < 0) stop("saved, but cannot open its directory to sync it");
    const int synced = calls_.fsync(dir);
    const int reason = errno;
    calls_.close(dir);
    if (synced != 0 && reason != EINVAL && reason != ENOTSUP) {  // file systems that cannot sync directories say so
      errno = reason;
      stop("saved, but cannot sync its directory");
    }
  }

 private:
  static constexpr std::size_t buffer_bytes = std::size_t{1} << 16;

  std::filesystem::path directory() const {
    const std::filesystem::path parent = target_.parent_path();
    return parent.empty() ? std::filesystem::path(".") : parent;
  }

  void flush() {
    write_through(buffer_);
    buffer_.clear();
  }

  void write_through(byte_view bytes) {
    while (!bytes.empty()) {
      const ssize_t n = calls_.write(fd_, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n == 0) errno = EIO;
      if (n <= 0) stop("cannot write");
      bytes = bytes.subspan(static_cast<std::size_t>(n));
    }
  }

  [[noreturn]] void stop(std::string_view what) {
    const int reason = errno;
    abandon();
    detail::fail_errno("negood.io.6", target_, what, reason, reason == ENOSPC ? "free some space" : "");
  }

  void abandon() noexcept {
    if (fd_ >= 0) calls_.close(std::exchange(fd_, -1));
    if (!temporary_.empty()) calls_.unlink(temporary_.c_str());
    temporary_.clear();
  }

  file_system& calls_;
  std::filesystem::path target_, temporary_;
  int fd_ = -1;
  byte_vector buffer_;
};

/// Saves `bytes` under `path`, atomically.
inline void write_file(const std::filesystem::path& path, byte_view bytes, file_system& calls = default_file_system()) {
  atomic_writer writer(path, calls);
  writer.write(bytes);
  writer.commit();
}
inline void write_file(const std::filesystem::path& path, std::string_view text,
                       file_system& calls = default_file_system()) {
  write_file(path, as_byte_view(text), calls);
}

}  // namespace negood
