/// \file png.hpp  PNG decoding and encoding through libpng, with its errors turned into negood's.
#pragma once

#include <negood/io/image_limits.hpp>

#include <png.h>

#include <csetjmp>
#include <cstring>

namespace negood {

namespace detail {

/// What libpng's callbacks reach: it leaves its errors by longjmp, so nothing with a destructor may live in a frame
/// between `setjmp` and the library.
struct png_state {
  char message[256] = "unknown";
  byte_view in;
  byte_vector* out = nullptr;
  bool out_of_memory = false;

  static void on_error(png_structp png, png_const_charp text) {
    auto* self = static_cast<png_state*>(png_get_error_ptr(png));
    std::strncpy(self->message, text, sizeof self->message - 1);
    png_longjmp(png, 1);
  }
  static void on_warning(png_structp, png_const_charp) {}
  static void on_read(png_structp png, png_bytep to, std::size_t size) {
    auto* self = static_cast<png_state*>(png_get_io_ptr(png));
    if (size > self->in.size()) png_error(png, "the file is truncated");
    std::memcpy(to, self->in.data(), size);
    self->in = self->in.subspan(size);
  }
  static void on_write(png_structp png, png_bytep from, std::size_t size) {
    auto* self = static_cast<png_state*>(png_get_io_ptr(png));
    try {
      self->out->insert(self->out->end(), from, from + size);
    } catch (...) {
      self->out_of_memory = true;
    }
    if (self->out_of_memory) png_error(png, "out of memory");
  }
  static void on_flush(png_structp) {}
};

class png_decoder {
 public:
  png_decoder(byte_view bytes, const image_limits& limits) : limits_(limits), size_(bytes.size()) { state_.in = bytes; }
  png_decoder(const png_decoder&) = delete;
  png_decoder& operator=(const png_decoder&) = delete;
  ~png_decoder() { png_destroy_read_struct(&png_, &info_, nullptr); }

  image decode(const std::string& name) {
    if (!header()) refuse(name);
    const std::size_t width = png_get_image_width(png_, info_), height = png_get_image_height(png_, info_);
    check_image_size(width, height, size_, name, limits_);
    out_ = image(static_cast<index_type>(width), static_cast<index_type>(height));
    row_bytes_ = png_get_rowbytes(png_, info_);
    // An interlaced picture arrives in seven passes over all rows, so its samples are kept until the last.
    const std::size_t kept_rows = png_get_interlace_type(png_, info_) == PNG_INTERLACE_NONE ? 1 : height;
    if (row_bytes_ * kept_rows > allocation_allowance + size_ && limits_.pixels == 0)
      fail(error_category::resource, "negood.image.4", name, "is interlaced and too large",
           "raise image_limits::pixels");
    samples_.resize(row_bytes_ * kept_rows);
    if (!pixels()) refuse(name);
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& name) const {
    fail(error_category::data, "negood.image.2", name, std::string("is not a readable PNG: ") + state_.message);
  }

  bool header() {
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, &state_, png_state::on_error, png_state::on_warning);
    if (png_ == nullptr) return false;
    info_ = png_create_info_struct(png_);
    if (info_ == nullptr) return false;
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_read_fn(png_, &state_, png_state::on_read);
    png_set_user_limits(png_, static_cast<png_uint_32>(limits_.side), static_cast<png_uint_32>(limits_.side));
    png_set_chunk_malloc_max(png_, png_alloc_size_t{8} << 20);
    png_set_chunk_cache_max(png_, 128);
    // Text, profiles and the like are neither used nor kept.
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_read_info(png_, info_);
    depth_ = png_get_bit_depth(png_, info_);  // as stored: unpacking makes libpng report 8
    png_set_packing(png_);                    // 1, 2 and 4 bits become one byte each, unscaled
    png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }

  bool pixels() {
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    const bool interlaced = samples_.size() != row_bytes_;
    const int passes = png_get_interlace_type(png_, info_) == PNG_INTERLACE_NONE ? 1 : 7;
    for (int pass = 0; pass < passes; ++pass)
      for (index_type y = 0; y < out_.height; ++y) {
        png_bytep row = samples_.data() + (interlaced ? static_cast<std::size_t>(y) * row_bytes_ : 0);
        png_read_row(png_, row, nullptr);
        if (pass == passes - 1) to_rgb(row, out_.pixel(0, y));
      }
    png_read_end(png_, nullptr);
    return true;
  }

  /// One row of samples as Pillow's modes give them, then as its conversion to RGB does; alpha is dropped, not blended.
  void to_rgb(const std::uint8_t* in, std::uint8_t* to) {
    const std::size_t width = static_cast<std::size_t>(out_.width);
    const unsigned depth = depth_, step = depth == 16 ? 2 : 1;
    switch (png_get_color_type(png_, info_)) {
      case PNG_COLOR_TYPE_PALETTE: {
        png_colorp palette = nullptr;
        int entries = 0;
        png_get_PLTE(png_, info_, &palette, &entries);
        for (std::size_t x = 0; x < width; ++x) {
          const bool known = in[x] < entries;  // beyond the palette Pillow shows a grey ramp
          to[3 * x] = known ? palette[in[x]].red : in[x];
          to[3 * x + 1] = known ? palette[in[x]].green : in[x];
          to[3 * x + 2] = known ? palette[in[x]].blue : in[x];
        }
        break;
      }
      case PNG_COLOR_TYPE_GRAY: {
        // Sixteen-bit grey becomes an integer picture in Pillow, which its conversion clips at 255: nearly all white.
        const unsigned stretch = depth < 8 ? 255u / ((1u << (depth & 7u)) - 1u) : 1u;
        for (std::size_t x = 0; x < width; ++x) {
          const unsigned v = depth == 16 ? (in[2 * x] != 0 ? 255u : in[2 * x + 1]) : in[x] * stretch;
          to[3 * x] = to[3 * x + 1] = to[3 * x + 2] = static_cast<std::uint8_t>(v);
        }
        break;
      }
      case PNG_COLOR_TYPE_GRAY_ALPHA:
        for (std::size_t x = 0; x < width; ++x) to[3 * x] = to[3 * x + 1] = to[3 * x + 2] = in[2 * step * x];
        break;
      case PNG_COLOR_TYPE_RGB:
      case PNG_COLOR_TYPE_RGB_ALPHA: {
        const std::size_t pixel = step * (png_get_color_type(png_, info_) == PNG_COLOR_TYPE_RGB ? 3 : 4);
        for (std::size_t x = 0; x < width; ++x)
          for (std::size_t c = 0; c < 3; ++c) to[3 * x + c] = in[pixel * x + step * c];
        break;
      }
      default:
        png_error(png_, "unknown colour type");
    }
  }

  png_state state_;
  const image_limits& limits_;
  std::uint64_t size_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  image out_;
  std::size_t row_bytes_ = 0;
  unsigned depth_ = 8;
  byte_vector samples_;
};

class png_encoder {
 public:
  explicit png_encoder(byte_vector& out) { state_.out = &out; }
  png_encoder(const png_encoder&) = delete;
  png_encoder& operator=(const png_encoder&) = delete;
  ~png_encoder() { png_destroy_write_struct(&png_, &info_); }

  bool encode(const image& picture) {
    png_ = png_create_write_struct(PNG_LIBPNG_VER_STRING, &state_, png_state::on_error, png_state::on_warning);
    if (png_ == nullptr) return false;
    info_ = png_create_info_struct(png_);
    if (info_ == nullptr) return false;
    if (setjmp(png_jmpbuf(png_)) != 0) return false;
    png_set_write_fn(png_, &state_, png_state::on_write, png_state::on_flush);
    png_set_user_limits(png_, PNG_UINT_31_MAX, PNG_UINT_31_MAX);
    png_set_IHDR(png_, info_, static_cast<png_uint_32>(picture.width), static_cast<png_uint_32>(picture.height), 8,
                 PNG_COLOR_TYPE_RGB, PNG_INTERLACE_NONE, PNG_COMPRESSION_TYPE_DEFAULT, PNG_FILTER_TYPE_DEFAULT);
    png_set_compression_level(png_, 9);
    png_write_info(png_, info_);
    for (index_type y = 0; y < picture.height; ++y) png_write_row(png_, picture.pixel(0, y));
    png_write_end(png_, nullptr);
    return true;
  }

 private:
  png_state state_;
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
};

}  // namespace detail

/// Decodes a PNG of any colour type and depth to RGB; transparency and gamma are ignored, nothing is blended.
/// \throws error negood.image.2 corrupt or truncated, .4 too large
inline image parse_png(byte_view bytes, const std::string& name = "png", const image_limits& limits = {}) {
  detail::png_decoder decoder(bytes, limits);
  return decoder.decode(name);
}

inline image read_png(const std::filesystem::path& path, const image_limits& limits = {}) {
  return parse_png(read_file(path, limits.file_bytes), path.string(), limits);
}

/// The bytes of an 8-bit RGB PNG. \throws error negood.image.5 where width, height and bytes do not fit together
inline byte_vector png_bytes(const image& picture) {
  if (picture.width <= 0 || picture.height <= 0 || picture.width > 0x7fffffff || picture.height > 0x7fffffff ||
      picture.rgb.size() / 3 / static_cast<std::size_t>(picture.width) != static_cast<std::size_t>(picture.height) ||
      picture.rgb.size() != static_cast<std::size_t>(picture.width) * static_cast<std::size_t>(picture.height) * 3)
    fail(error_category::usage, "negood.image.5", "png_bytes",
         std::to_string(picture.rgb.size()) + " bytes are no picture of " + std::to_string(picture.width) + " x " +
             std::to_string(picture.height));
  byte_vector out;
  detail::png_encoder encoder(out);
  if (!encoder.encode(picture)) fail(error_category::internal, "negood.image.6", "png_bytes", "libpng cannot encode");
  return out;
}

/// Saves a picture as PNG, atomically.
inline void write_png(const std::filesystem::path& path, const image& picture,
                      file_system& calls = default_file_system()) {
  write_file(path, byte_view(png_bytes(picture)), calls);
}

}  // namespace negood
