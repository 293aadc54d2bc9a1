/// \file idx.hpp  The idx files of MNIST and Fashion-MNIST, plain or gzip-compressed: images and labels.
#pragma once

#include <negood/clip/image.hpp>
#include <negood/io/atomic_file.hpp>
#include <negood/io/gzip.hpp>

namespace negood {

struct idx_limits {
  std::uint64_t file_bytes = std::uint64_t{1} << 30;
  gzip_limits gzip{};
};

/// The grey pictures of an idx3 file, `pixels[(i * height + y) * width + x]`.
struct idx_images {
  index_type count = 0, height = 0, width = 0;
  byte_vector pixels;

  /// Picture `i` with its grey value in all three channels.
  image at(index_type i) const {
    if (i < 0 || i >= count)
      fail(error_category::usage, "negood.idx.5", "idx_images",
           "picture " + std::to_string(i) + " of " + std::to_string(count));
    image out(width, height);
    const std::uint8_t* grey = pixels.data() + i * height * width;
    for (index_type p = 0; p < height * width; ++p)
      for (index_type c = 0; c < 3; ++c) out.rgb[static_cast<std::size_t>(p * 3 + c)] = grey[p];
    return out;
  }
};

namespace detail {

/// The body of an idx file of unsigned bytes with `dims.size()` dimensions, which are read into `dims`.
inline byte_vector parse_idx(byte_view bytes, const std::string& name, std::span<std::uint32_t> dims,
                             const idx_limits& limits) {
  const std::size_t head = 4 + 4 * dims.size();
  const bool compressed = is_gzip(bytes);
  gunzip_stream stream(compressed ? bytes : byte_view{}, name);
  std::uint8_t start[16] = {};
  const std::size_t got = compressed ? stream.read({start, head}) : std::min(head, bytes.size());
  if (!compressed) std::copy_n(bytes.begin(), got, start);
  if (got < head || start[0] != 0 || start[1] != 0 || start[2] != 8 || start[3] != dims.size())
    fail(error_category::data, "negood.idx.1", name,
         "is not an idx file of unsigned bytes with " + std::to_string(dims.size()) + " dimension(s)");
  std::optional<std::uint64_t> product = 1;
  for (std::size_t i = 0; i < dims.size(); ++i) {
    dims[i] = load_be<std::uint32_t>(start + 4 + 4 * i);
    if (product) product = checked_mul(*product, dims[i]);
  }
  if (!product) fail(error_category::data, "negood.idx.2", name, "the product of its dimensions overflows");
  const std::uint64_t body = *product;
  if (!compressed) {
    if (body != bytes.size() - head)
      fail(error_category::data, "negood.idx.3", name,
           "promises " + std::to_string(body) + " bytes and holds " + std::to_string(bytes.size() - head),
           "truncated, or trailing bytes");
    return byte_vector(bytes.begin() + static_cast<std::ptrdiff_t>(head), bytes.end());
  }
  if (body > limits.gzip.permitted(bytes.size()))
    fail(error_category::resource, "negood.idx.4", name,
         "promises " + std::to_string(body) + " bytes in " + std::to_string(bytes.size()) + " compressed ones");
  // Grow with what arrives, so that a promise alone costs nothing.
  byte_vector out;
  while (out.size() < body) {
    const std::size_t filled = out.size();
    const std::size_t step = static_cast<std::size_t>(
        std::min<std::uint64_t>(body - filled, std::max<std::uint64_t>(filled, std::uint64_t{1} << 20)));
    out.resize(filled + step);
    const std::size_t n = stream.read({out.data() + filled, step});
    if (n < step)
      fail(error_category::data, "negood.idx.3", name,
           "promises " + std::to_string(body) + " bytes and holds " + std::to_string(filled + n));
  }
  std::uint8_t beyond = 0;
  if (stream.read({&beyond, 1}) != 0)
    fail(error_category::data, "negood.idx.3", name,
         "holds more than the " + std::to_string(body) + " bytes it promises");
  return out;
}

}  // namespace detail

/// Parses the bytes of an idx3 file of unsigned bytes (magic 0x00000803), plain or gzip.
/// \throws error negood.idx.1 wrong magic, .2 overflow or no pixels, .3 size, .4 promises too much; negood.gzip.2
/// corrupt
inline idx_images parse_idx_images(byte_view bytes, const std::string& name = "idx", const idx_limits& limits = {}) {
  std::uint32_t dims[3] = {};
  idx_images out;
  out.pixels = detail::parse_idx(bytes, name, dims, limits);
  out.count = dims[0];
  out.height = dims[1];
  out.width = dims[2];
  if (out.count > 0 && out.pixels.empty())
    fail(error_category::data, "negood.idx.2", name, std::to_string(out.count) + " pictures without a pixel");
  return out;
}

/// Parses the bytes of an idx1 file of unsigned bytes (magic 0x00000801), plain or gzip: one label an item.
inline std::vector<index_type> parse_idx_labels(byte_view bytes, const std::string& name = "idx",
                                                const idx_limits& limits = {}) {
  std::uint32_t dims[1] = {};
  const byte_vector labels = detail::parse_idx(bytes, name, dims, limits);
  return std::vector<index_type>(labels.begin(), labels.end());
}

inline idx_images read_idx_images(const std::filesystem::path& path, const idx_limits& limits = {}) {
  return parse_idx_images(read_file(path, limits.file_bytes), path.string(), limits);
}
inline std::vector<index_type> read_idx_labels(const std::filesystem::path& path, const idx_limits& limits = {}) {
  return parse_idx_labels(read_file(path, limits.file_bytes), path.string(), limits);
}

}  // namespace negood
