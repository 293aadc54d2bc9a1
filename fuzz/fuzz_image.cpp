// JPEG and PNG pictures.
#include "fuzz.hpp"

#include <negood/io/image.hpp>

using namespace negood;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  image_limits limits;
  limits.pixels = 1 << 16;
  limits.scans = 10;
  fuzz::accepts([&] {
    const image picture = parse_image(byte_view(data, size), "image", limits);
    fuzz::must(picture.rgb.size() == static_cast<std::size_t>(picture.width * picture.height * 3));
    fuzz::must(picture.width * picture.height <= 1 << 16);
  });
  return 0;
}
