/// \file image_limits.hpp  What a picture file may ask for before its pixels are allocated.
#pragma once

#include <negood/clip/image.hpp>
#include <negood/io/atomic_file.hpp>

#include <string>

namespace negood {

struct image_limits {
  std::uint64_t file_bytes = std::uint64_t{256} << 20;
  index_type side = 65'500;
  /// Pixels at most; 0 stands for as many as fill 64 MiB beyond the file's own size with RGB bytes (22 megapixels and
  /// a third of the file's size), so that a small file cannot claim a large memory.
  std::uint64_t pixels = 0;
  int scans = 100;  ///< of a progressive JPEG: each costs a pass over the picture
};

namespace detail {

/// Refuses a picture whose dimensions pass the limits.
inline void check_image_size(std::uint64_t width, std::uint64_t height, std::uint64_t file_bytes,
                             const std::string& name, const image_limits& limits) {
  const std::uint64_t pixels = limits.pixels != 0 ? limits.pixels : (allocation_allowance + file_bytes) / 3;
  const std::uint64_t side = static_cast<std::uint64_t>(limits.side);
  if (width == 0 || height == 0) fail(error_category::data, "negood.image.2", name, "has no pixels");
  if (width > side || height > side || width * height > pixels)
    fail(error_category::resource, "negood.image.4", name,
         std::to_string(width) + " x " + std::to_string(height) + " pixels; the limit is " + std::to_string(pixels),
         "raise image_limits::pixels if you trust it");
}

}  // namespace detail

}  // namespace negood
