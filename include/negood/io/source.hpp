/// \file source.hpp  Bytes to read at an offset: from memory, or from an open file of which only parts are wanted.
#pragma once

#include <negood/io/atomic_file.hpp>

#include <memory>

namespace negood {

/// Random access to the bytes of a file or of a buffer. Copies share what they read from.
class byte_source {
 public:
  byte_source() = default;

  /// Owns the bytes.
  static byte_source from_bytes(byte_vector bytes, std::string name) {
    auto owned = std::make_shared<const byte_vector>(std::move(bytes));
    byte_source out = from_view(*owned, std::move(name));
    out.owned_ = std::move(owned);
    return out;
  }
  /// Refers to bytes that outlive this object.
  static byte_source from_view(byte_view bytes, std::string name) {
    byte_source out;
    out.view_ = bytes;
    out.size_ = bytes.size();
    out.name_ = std::move(name);
    return out;
  }
  /// The whole file, read into memory now.
  static byte_source read(const std::filesystem::path& path, std::uint64_t max_bytes) {
    return from_bytes(read_file(path, max_bytes), path.string());
  }
  /// The file stays open and parts of it are read when they are wanted. One that shrinks meanwhile is an error, never a
  /// fault, because nothing is mapped.
  static byte_source open(const std::filesystem::path& path, std::uint64_t max_bytes) {
    auto file = std::make_shared<detail::opened_file>(detail::open_regular(path, max_bytes));
    byte_source out;
    out.size_ = file->size;
    out.file_ = std::move(file);
    out.name_ = path.string();
    return out;
  }

  std::uint64_t size() const noexcept { return size_; }
  const std::string& name() const noexcept { return name_; }

  /// Copies `out.size()` bytes from `offset` on. The caller has checked that they lie within `size()`.
  void read_at(std::uint64_t offset, std::span<std::uint8_t> out) const {
    if (out.empty()) return;
    if (offset > size_ || out.size() > size_ - offset)
      fail(error_category::internal, "negood.io.11", name_, "read beyond the end");
    if (!file_)
      std::memcpy(out.data(), view_.data() + offset, out.size());
    else if (!detail::read_at(file_->fd.get(), offset, out, name_))
      fail(error_category::io, "negood.io.5", name_, "became shorter while it was read");
  }

 private:
  std::shared_ptr<const byte_vector> owned_;
  std::shared_ptr<const detail::opened_file> file_;
  byte_view view_;
  std::uint64_t size_ = 0;
  std::string name_;
};

}  // namespace negood
