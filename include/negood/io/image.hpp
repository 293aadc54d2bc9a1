/// \file image.hpp  Reading JPEG and PNG pictures to the bytes that Pillow's `Image.open(f).convert("RGB")` gives.
///
/// EXIF orientation, colour profiles and gamma are ignored, as they are there.
#pragma once

#include <negood/io/jpeg.hpp>
#include <negood/io/png.hpp>

namespace negood {

/// Decodes a picture by its signature, JPEG or PNG. \throws error negood.image.1 another format, .2 to .4 see the
/// readers
inline image parse_image(byte_view bytes, const std::string& name = "image", const image_limits& limits = {}) {
  if (bytes.size() >= 3 && bytes[0] == 0xff && bytes[1] == 0xd8 && bytes[2] == 0xff)
    return parse_jpeg(bytes, name, limits);
  constexpr std::uint8_t png[] = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1a, '\n'};
  if (bytes.size() >= 8 && std::equal(png, png + 8, bytes.begin())) return parse_png(bytes, name, limits);
  const std::string_view text = as_text(bytes.first(std::min<std::size_t>(bytes.size(), 12)));
  std::string seen = "is neither JPEG nor PNG";
  if (text.starts_with("GIF8")) seen += " but GIF";
  if (text.starts_with("BM")) seen += " but BMP";
  if (text.starts_with("RIFF") && text.size() == 12 && text.substr(8) == "WEBP") seen += " but WebP";
  fail(error_category::data, "negood.image.1", name, seen, "convert it to PNG or JPEG");
}

/// Reads a picture file, JPEG or PNG by its signature and not by its name.
inline image read_image(const std::filesystem::path& path, const image_limits& limits = {}) {
  return parse_image(read_file(path, limits.file_bytes), path.string(), limits);
}

}  // namespace negood
