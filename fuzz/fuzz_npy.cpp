// .npy files. An odd first byte: the rest is the file. An even one: the next byte is the number of data bytes and the
// rest the header's text, with a correct prefix put in front.
#include "fuzz.hpp"

#include <negood/io/labels.hpp>
#include <negood/io/npy.hpp>

using namespace negood;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size < 2 || size > 60'000) return 0;
  byte_vector bytes;
  if (data[0] % 2 != 0) {
    bytes.assign(data + 1, data + size);
  } else {
    bytes = {0x93, 'N', 'U', 'M', 'P', 'Y', 1, 0};
    append_le(bytes, static_cast<std::uint16_t>(size - 2));
    bytes.insert(bytes.end(), data + 2, data + size);
    bytes.resize(bytes.size() + data[1], 0x41);
  }
  fuzz::accepts([&] {
    const npy_file f = npy_file::parse(bytes);
    fuzz::accepts([&] { f.matrix<std::int64_t>(); });
    fuzz::accepts([&] { f.matrix<std::uint8_t>(); });
    const host_matrix<double> m = f.matrix<double>();
    fuzz::must(static_cast<std::uint64_t>(m.size()) <= bytes.size());
    const byte_vector copy = npy_bytes<double>(m.values(), f.shape());
    const host_matrix<double> again = npy_file::parse(copy).matrix<double>();
    fuzz::must(again.rows() == m.rows() && again.cols() == m.cols());
    fuzz::must(m.empty() || std::memcmp(again.data(), m.data(), static_cast<std::size_t>(m.size()) * 8) == 0);
  });
  fuzz::accepts([&] {
    for (const std::int64_t label : parse_labels(bytes)) fuzz::must(label >= -1 && label < (std::int64_t{1} << 31));
  });
  return 0;
}
