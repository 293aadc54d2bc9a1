#include "io_test.hpp"

#include <negood/io/idx.hpp>

using namespace io_test;

namespace {

/// One gzip member of `data`, at zlib's best level.
byte_vector gzip(byte_view data) {
  byte_vector out(compressBound(static_cast<uLong>(data.size())) + 64);
  z_stream s = {};
  REQUIRE(deflateInit2(&s, 9, Z_DEFLATED, 16 + MAX_WBITS, 9, Z_DEFAULT_STRATEGY) == Z_OK);
  s.next_in = const_cast<Bytef*>(data.data());
  s.avail_in = static_cast<uInt>(data.size());
  s.next_out = out.data();
  s.avail_out = static_cast<uInt>(out.size());
  REQUIRE(deflate(&s, Z_FINISH) == Z_STREAM_END);
  out.resize(s.total_out);
  deflateEnd(&s);
  return out;
}

byte_vector idx3(std::uint32_t count, std::uint32_t height, std::uint32_t width, std::size_t body) {
  byte_vector out = {0, 0, 8, 3};
  for (const std::uint32_t d : {count, height, width})
    for (int shift = 24; shift >= 0; shift -= 8) out.push_back(static_cast<std::uint8_t>(d >> shift));
  out.resize(out.size() + body, 7);
  return out;
}

}  // namespace

TEST_CASE("idx: images and labels, plain and compressed, read the same") {
  for (const char* suffix : {".idx", ".idx.gz"}) {
    const idx_images images = read_idx_images(golden(std::string("idx/images") + suffix));
    CHECK(images.count == 3);
    CHECK(images.height == 4);
    CHECK(images.width == 5);
    REQUIRE(images.pixels.size() == 60);
    for (std::size_t k = 0; k < 60; ++k) CHECK(images.pixels[k] == (7 * k + 1) % 256);
    const image second = images.at(1);
    CHECK(second.width == 5);
    CHECK(second.height == 4);
    for (index_type c = 0; c < 3; ++c) CHECK(second.pixel(2, 3)[c] == (7 * (20 + 3 * 5 + 2) + 1) % 256);
    CHECK(code_of([&] { images.at(3); }) == "negood.idx.5");
    CHECK(read_idx_labels(golden(std::string("idx/labels") + suffix)) == std::vector<index_type>{0, 9, 3});
  }
}

TEST_CASE("idx: files cut at every byte, with trailing bytes or of another kind are refused") {
  for (const char* name : {"idx/images.idx", "idx/images.idx.gz"}) {
    CAPTURE(name);
    byte_vector bytes = read_file(golden(name));
    std::size_t rejected = 0;
    for (std::size_t n = 0; n < bytes.size(); ++n)
      rejected += error_of([&] { parse_idx_images(byte_view(bytes).first(n)); }).category() == error_category::data;
    CHECK(rejected == bytes.size());
    bytes.push_back(0);
    CHECK(error_of([&] { parse_idx_images(bytes); }).category() == error_category::data);
  }
  CHECK(code_of([] { parse_idx_images(read_file(golden("idx/labels.idx"))); }) == "negood.idx.1");
  CHECK(code_of([] { parse_idx_labels(read_file(golden("idx/images.idx"))); }) == "negood.idx.1");
  CHECK(code_of([] { parse_idx_images(idx3(0xffffffff, 0xffffffff, 0xffffffff, 10)); }) == "negood.idx.2");
  CHECK(code_of([] { parse_idx_images(idx3(0xffffffff, 0, 5, 0)); }) == "negood.idx.2");
  CHECK(code_of([] { parse_idx_images(idx3(3, 4, 5, 59)); }) == "negood.idx.3");
  CHECK(code_of([] { parse_idx_images(idx3(3, 4, 5, 61)); }) == "negood.idx.3");
  CHECK(parse_idx_images(idx3(0, 28, 28, 0)).count == 0);
}

TEST_CASE("idx: a compressed file that promises more or less than it holds is refused, and so is a bomb") {
  CHECK(parse_idx_images(gzip(idx3(3, 4, 5, 60))).count == 3);
  CHECK(code_of([] { parse_idx_images(gzip(idx3(3, 4, 5, 59))); }) == "negood.idx.3");
  CHECK(code_of([] { parse_idx_images(gzip(idx3(3, 4, 5, 61))); }) == "negood.idx.3");
  CHECK(code_of([] { parse_idx_images(gzip(idx3(4096, 1024, 1024, 16))); }) == "negood.idx.4");
  const byte_vector bomb = gzip(idx3(64, 1024, 1024, std::size_t{64} << 20));  // 64 MiB in about 64 KiB
  CHECK(bomb.size() < 100'000);
  CHECK(code_of([&] { parse_idx_images(bomb); }) == "negood.idx.4");
  idx_limits trusting;
  trusting.gzip.ratio = 2000;
  CHECK(parse_idx_images(bomb, "bomb", trusting).pixels.size() == std::size_t{64} << 20);
  CHECK(code_of([&] { gunzip(bomb, "bomb"); }) == "negood.gzip.3");
}

TEST_CASE("gzip: a damaged byte anywhere past the header is noticed") {
  const byte_vector text = bytes_of("the quick brown fox jumps over the lazy dog, again and again and again");
  const byte_vector whole = gzip(text);
  CHECK(gunzip(whole, "gz") == text);
  CHECK(gunzip_if_compressed(text, "gz") == text);
  CHECK(gunzip_if_compressed(whole, "gz") == text);
  std::size_t noticed = 0;
  for (std::size_t i = 10; i < whole.size(); ++i) {
    byte_vector damaged = whole;
    damaged[i] ^= 0x10;
    noticed += code_of([&] { gunzip(damaged, "gz"); }) == "negood.gzip.2";
  }
  CHECK(noticed == whole.size() - 10);
  byte_vector twice = whole;
  twice.insert(twice.end(), whole.begin(), whole.end());
  CHECK(code_of([&] { gunzip(twice, "gz"); }) == "negood.gzip.2");
}

TEST_CASE("idx: Fashion-MNIST's test set, where it is installed") {
  const std::filesystem::path folder = "/usr/share/datasets/fashion-mnist";
  if (!std::filesystem::exists(folder / "t10k-images-idx3-ubyte.gz")) {
    WARN("dataset-fashion-mnist is not installed");
    return;
  }
  const idx_images images = read_idx_images(folder / "t10k-images-idx3-ubyte.gz");
  const auto labels = read_idx_labels(folder / "t10k-labels-idx1-ubyte.gz");
  CHECK(images.count == 10'000);
  CHECK(images.height == 28);
  CHECK(images.width == 28);
  REQUIRE(labels.size() == 10'000);
  std::vector<int> of_class(10, 0);
  for (const index_type l : labels) ++of_class.at(static_cast<std::size_t>(l));
  CHECK(of_class == std::vector<int>(10, 1000));
}
