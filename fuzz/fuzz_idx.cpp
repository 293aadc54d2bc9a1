// idx files, plain or gzip.
#include "fuzz.hpp"

#include <negood/io/idx.hpp>

using namespace negood;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const byte_view bytes(data, size);
  idx_limits limits;
  limits.gzip.output_bytes = 1 << 22;
  fuzz::accepts([&] {
    const idx_images images = parse_idx_images(bytes, "idx", limits);
    fuzz::must(images.pixels.size() == static_cast<std::size_t>(images.count * images.height * images.width));
    if (images.count > 0) images.at(images.count - 1);
  });
  fuzz::accepts([&] {
    for (const index_type label : parse_idx_labels(bytes, "idx", limits)) fuzz::must(label >= 0 && label < 256);
  });
  fuzz::accepts([&] { fuzz::must(gunzip(bytes, "gz", limits.gzip).size() <= limits.gzip.output_bytes); });
  return 0;
}
