#include "io_test.hpp"

#include <negood/io/image.hpp>
#include <negood/io/npy.hpp>

using namespace io_test;

TEST_CASE("images: every picture decodes to the bytes that Pillow's convert(\"RGB\") gives") {
  std::size_t compared = 0;
  for (const auto& entry : std::filesystem::directory_iterator(golden("images"))) {
    if (entry.path().extension() == ".npy") continue;
    CAPTURE(entry.path().filename().string());
    const image picture = read_image(entry.path());
    std::filesystem::path expected = entry.path();
    const npy_file pixels = npy_file::open(expected.replace_extension(".npy"));
    REQUIRE(pixels.shape().size() == 3);
    CHECK(static_cast<std::uint64_t>(picture.height) == pixels.shape()[0]);
    CHECK(static_cast<std::uint64_t>(picture.width) == pixels.shape()[1]);
    CHECK(picture.rgb == pixels.matrix<std::uint8_t>().values());
    ++compared;
  }
  CHECK(compared >= 27);
}

TEST_CASE("images: a picture is recognised by its signature and other formats are named") {
  CHECK(read_jpeg(golden("images/jpeg_420.jpg")) == read_image(golden("images/jpeg_420.jpg")));
  CHECK(read_png(golden("images/png_rgb8.png")) == read_image(golden("images/png_rgb8.png")));
  const error gif = error_of([] { parse_image(bytes_of("GIF89a and more")); });
  CHECK(gif.code() == "negood.image.1");
  CHECK(mentions(gif, "GIF"));
  CHECK(mentions(error_of([] { parse_image(bytes_of("RIFF1234WEBPVP8 ")); }), "WebP"));
  CHECK(code_of([] { parse_image({}); }) == "negood.image.1");
  CHECK(code_of([] { read_image(golden("images")); }) == "negood.io.2");
  CHECK(code_of([] { read_image(golden("images/none.png")); }) == "negood.io.1");
}

TEST_CASE("images: files cut at every byte are refused") {
  for (const char* name : {"jpeg_420.jpg", "jpeg_progressive.jpg", "jpeg_cmyk.jpg", "png_rgb8.png",
                           "png_interlaced.png", "png_palette4.png"}) {
    CAPTURE(name);
    const byte_vector whole = read_file(golden(std::string("images/") + name));
    REQUIRE_NOTHROW(parse_image(whole));
    std::size_t rejected = 0;
    for (std::size_t n = 0; n < whole.size(); ++n)
      rejected += error_of([&] { parse_image(byte_view(whole).first(n)); }).category() == error_category::data;
    CHECK(rejected == whole.size());
  }
}

TEST_CASE("images: dimensions are refused before pixels are allocated") {
  byte_vector png = read_file(golden("images/png_rgb8.png"));
  image_limits limits;
  limits.pixels = 9 * 13 - 1;
  CHECK(code_of([&] { parse_image(png, "p", limits); }) == "negood.image.4");
  CHECK(error_of([&] { parse_image(png, "p", limits); }).category() == error_category::resource);
  limits.pixels = 9 * 13;
  CHECK_NOTHROW(parse_image(png, "p", limits));
  // A JPEG that claims 65,500 x 65,500 pixels: its frame header is the marker ff c0, then length, depth, height, width.
  byte_vector jpeg = read_file(golden("images/jpeg_420.jpg"));
  const std::uint8_t frame[] = {0xff, 0xc0};
  const auto at = std::search(jpeg.begin(), jpeg.end(), frame, frame + 2);
  REQUIRE(at != jpeg.end());
  for (int i = 5; i < 9; i += 2) {
    at[i] = 0xff;
    at[i + 1] = 0xdc;
  }
  CHECK(code_of([&] { parse_image(jpeg); }) == "negood.image.4");
  limits = {};
  limits.file_bytes = 10;
  CHECK(code_of([&] { read_image(golden("images/png_rgb8.png"), limits); }) == "negood.io.3");
}

TEST_CASE("images: a progressive JPEG of more scans than allowed is refused") {
  const byte_vector jpeg = read_file(golden("images/jpeg_progressive.jpg"));
  image_limits limits;
  limits.scans = 3;
  const error e = error_of([&] { parse_image(jpeg, "j", limits); });
  CHECK(e.code() == "negood.image.2");
  CHECK(mentions(e, "scans"));
}

TEST_CASE("images: a JPEG of two components is refused") {
  jpeg_compress_struct info = {};
  jpeg_error_mgr errors = {};
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* data = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &data, &size);
  info.image_width = info.image_height = 8;
  info.input_components = 2;
  info.in_color_space = JCS_UNKNOWN;
  jpeg_set_defaults(&info);
  jpeg_start_compress(&info, TRUE);
  std::vector<std::uint8_t> row(16, 90);
  JSAMPROW rows[1] = {row.data()};
  while (info.next_scanline < info.image_height) jpeg_write_scanlines(&info, rows, 1);
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  const byte_vector bytes(data, data + size);
  std::free(data);
  CHECK(code_of([&] { parse_jpeg(bytes); }) == "negood.image.3");
}

TEST_CASE("images: a damaged PNG byte is noticed by its checksums") {
  const byte_vector whole = read_file(golden("images/png_rgb8.png"));
  // The last four are the checksum of the end chunk, which holds nothing; libpng 1.6.48 does not look at it.
  const std::size_t end = whole.size() - 4;
  std::size_t noticed = 0;
  for (std::size_t i = 8; i < end; ++i) {
    byte_vector damaged = whole;
    damaged[i] ^= 0x40;
    const std::string code = code_of([&] { parse_png(damaged); });
    noticed += code == "negood.image.2" || code == "negood.image.4";
  }
  CHECK(noticed == end - 8);
}

TEST_CASE("images: what is written as PNG is read back, and the same picture gives the same bytes") {
  image picture(31, 17);
  for (std::size_t i = 0; i < picture.rgb.size(); ++i) picture.rgb[i] = static_cast<std::uint8_t>(i * i / 7);
  const byte_vector bytes = png_bytes(picture);
  CHECK(parse_png(bytes) == picture);
  CHECK(png_bytes(picture) == bytes);
  scratch_folder folder;
  write_png(folder / "p.png", picture);
  CHECK(read_file(folder / "p.png") == bytes);
  picture.rgb.pop_back();
  CHECK(code_of([&] { png_bytes(picture); }) == "negood.image.5");
  CHECK(code_of([] { png_bytes(image()); }) == "negood.image.5");
}
