/// \file gzip.hpp  Decompression under a cap: the output is known or bounded before it is produced.
#pragma once

#include <negood/io/bytes.hpp>

#include <zlib.h>

#include <algorithm>
#include <string>

namespace negood {

inline bool is_gzip(byte_view bytes) noexcept { return bytes.size() >= 2 && bytes[0] == 0x1f && bytes[1] == 0x8b; }

/// What a compressed file may become. Real data compress by less than 20; deflate's own limit is 1032.
struct gzip_limits {
  std::uint64_t output_bytes = std::uint64_t{4} << 30;
  std::uint64_t ratio = 200;
  std::uint64_t allowance = std::uint64_t{1} << 20;  ///< output always permitted, whatever the ratio

  std::uint64_t permitted(std::uint64_t compressed) const noexcept {
    const auto scaled = checked_mul(compressed, ratio);
    return std::min(output_bytes, std::max(allowance, scaled.value_or(output_bytes)));
  }
};

/// Inflates one gzip member piece by piece; nothing may follow it.
class gunzip_stream {
 public:
  gunzip_stream(byte_view bytes, std::string name) : name_(std::move(name)), rest_(bytes) {
    if (inflateInit2(&stream_, 16 + MAX_WBITS) != Z_OK)
      fail(error_category::resource, "negood.gzip.1", name_, "zlib cannot start");
  }
  gunzip_stream(const gunzip_stream&) = delete;
  gunzip_stream& operator=(const gunzip_stream&) = delete;
  ~gunzip_stream() { inflateEnd(&stream_); }

  /// Fills `out` as far as the member goes; returns how many bytes it wrote.
  /// \throws error negood.gzip.2 where the data are corrupt, truncated or followed by other bytes
  std::size_t read(std::span<std::uint8_t> out) {
    std::size_t done = 0;
    while (done < out.size() && !finished_) {
      if (stream_.avail_in == 0) {
        const std::size_t n = std::min<std::size_t>(rest_.size(), std::size_t{1} << 30);
        stream_.next_in = const_cast<Bytef*>(rest_.data());  // zlib does not write through it
        stream_.avail_in = static_cast<uInt>(n);
        rest_ = rest_.subspan(n);
      }
      const std::size_t room = std::min<std::size_t>(out.size() - done, std::size_t{1} << 30);
      stream_.next_out = out.data() + done;
      stream_.avail_out = static_cast<uInt>(room);
      const int status = inflate(&stream_, Z_NO_FLUSH);
      done += room - stream_.avail_out;
      if (status == Z_STREAM_END) {
        finished_ = true;
        if (stream_.avail_in != 0 || !rest_.empty())
          fail(error_category::data, "negood.gzip.2", name_, "has bytes after its gzip member");
      } else if (status != Z_OK) {
        fail(error_category::data, "negood.gzip.2", name_,
             status == Z_BUF_ERROR ? "its compressed data are truncated" : "its compressed data are corrupt");
      }
    }
    return done;
  }

 private:
  std::string name_;
  byte_view rest_;
  z_stream stream_ = {};
  bool finished_ = false;
};

/// Decompresses a whole gzip file; memory grows only with what has come out.
/// \throws error negood.gzip.2 corrupt, .3 more than the limits permit
inline byte_vector gunzip(byte_view bytes, const std::string& name, const gzip_limits& limits = {}) {
  const std::uint64_t permitted = limits.permitted(bytes.size());
  gunzip_stream stream(bytes, name);
  byte_vector out;
  std::size_t filled = 0;
  for (;;) {
    // Twice as much each time, and one byte beyond what is permitted tells that there is more.
    const std::size_t step = static_cast<std::size_t>(
        std::min<std::uint64_t>(std::max<std::uint64_t>(filled, std::uint64_t{1} << 16), permitted - filled + 1));
    out.resize(filled + step);
    const std::size_t got = stream.read({out.data() + filled, step});
    filled += got;
    if (filled > permitted)
      fail(error_category::resource, "negood.gzip.3", name,
           "inflates to more than " + std::to_string(permitted) + " bytes", "raise the limit if you trust it");
    if (got < step) break;
  }
  out.resize(filled);
  return out;
}

/// The bytes of a file that may or may not be compressed.
inline byte_vector gunzip_if_compressed(byte_vector bytes, const std::string& name, const gzip_limits& limits = {}) {
  return is_gzip(bytes) ? gunzip(bytes, name, limits) : std::move(bytes);
}

}  // namespace negood
