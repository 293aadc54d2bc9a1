/// \file image.hpp  A decoded picture: what readers hand to preprocessing. Standard library only.
#pragma once

#include <negood/config.hpp>

#include <cstddef>
#include <cstdint>
#include <vector>

namespace negood {

/// An 8-bit RGB picture, rows from the top, channels interleaved: `rgb[(y * width + x) * 3 + c]`.
struct image {
  index_type width = 0;
  index_type height = 0;
  std::vector<std::uint8_t> rgb;  ///< height * width * 3 bytes

  image() = default;
  image(index_type width_, index_type height_)
      : width(width_), height(height_), rgb(static_cast<std::size_t>(width_) * static_cast<std::size_t>(height_) * 3) {}

  static constexpr index_type channels = 3;
  std::uint8_t* pixel(index_type x, index_type y) noexcept {
    return rgb.data() + static_cast<std::size_t>((y * width + x) * 3);
  }
  const std::uint8_t* pixel(index_type x, index_type y) const noexcept {
    return rgb.data() + static_cast<std::size_t>((y * width + x) * 3);
  }
  friend bool operator==(const image&, const image&) = default;
};

}  // namespace negood
