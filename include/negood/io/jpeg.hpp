/// \file jpeg.hpp  JPEG decoding through libjpeg-turbo, with its errors turned into negood's.
#pragma once

#include <negood/io/image_limits.hpp>

#include <csetjmp>
#include <cstddef>
#include <cstdio>  // jpeglib.h needs FILE and size_t

#include <jerror.h>
#include <jpeglib.h>

namespace negood {

namespace detail {

/// Everything a decode touches. libjpeg jumps out of its errors with longjmp, so nothing with a destructor may live in
/// a frame between `setjmp` and the library: it all lives here instead.
class jpeg_decoder {
 public:
  jpeg_decoder(byte_view bytes, const image_limits& limits) : bytes_(bytes), limits_(limits) {}
  jpeg_decoder(const jpeg_decoder&) = delete;
  jpeg_decoder& operator=(const jpeg_decoder&) = delete;
  ~jpeg_decoder() {
    if (created_) jpeg_destroy_decompress(&info_);
  }

  image decode(const std::string& name) {
    if (!header()) refuse(name);
    check_image_size(info_.image_width, info_.image_height, bytes_.size(), name, limits_);
    if (info_.num_components != 1 && info_.num_components != 3 && info_.num_components != 4)
      fail(error_category::data, "negood.image.3", name,
           "is a JPEG of " + std::to_string(info_.num_components) + " components");
    out_ = image(info_.image_width, info_.image_height);
    row_.resize(static_cast<std::size_t>(info_.image_width) * 4);
    if (!pixels()) refuse(name);
    return std::move(out_);
  }

 private:
  [[noreturn]] void refuse(const std::string& name) const {
    fail(error_category::data, "negood.image.2", name, std::string("is not a readable JPEG: ") + message_);
  }

  static void on_error(j_common_ptr info) {
    auto* self = static_cast<jpeg_decoder*>(info->client_data);
    (*info->err->format_message)(info, self->message_);
    std::longjmp(self->jump_, 1);
  }
  static void on_message(j_common_ptr info, int level) {
    // Level -1 is a warning. libjpeg goes on after the file's end with a made-up end marker; that is a truncated file.
    if (level < 0 && info->err->msg_code == JWRN_JPEG_EOF) on_error(info);
  }
  static void on_progress(j_common_ptr info) {
    auto* self = static_cast<jpeg_decoder*>(info->client_data);
    if (self->info_.input_scan_number > self->limits_.scans) {
      std::snprintf(self->message_, sizeof self->message_, "more than %d scans", self->limits_.scans);
      std::longjmp(self->jump_, 1);
    }
  }

  bool header() {
    info_.err = jpeg_std_error(&errors_);
    errors_.error_exit = on_error;
    errors_.emit_message = on_message;
    info_.client_data = this;
    if (setjmp(jump_) != 0) return false;
    jpeg_create_decompress(&info_);
    created_ = true;
    info_.client_data = this;
    progress_.progress_monitor = on_progress;
    info_.progress = &progress_;
    jpeg_mem_src(&info_, bytes_.data(), static_cast<unsigned long>(bytes_.size()));
    return jpeg_read_header(&info_, TRUE) == JPEG_HEADER_OK;
  }

  bool pixels() {
    if (setjmp(jump_) != 0) return false;
    info_.out_color_space = info_.num_components == 1 ? JCS_GRAYSCALE : info_.num_components == 3 ? JCS_RGB : JCS_CMYK;
    jpeg_start_decompress(&info_);
    while (info_.output_scanline < info_.output_height) {
      std::uint8_t* const to =
          out_.rgb.data() + static_cast<std::size_t>(info_.output_scanline) * info_.output_width * 3;
      JSAMPROW row = info_.num_components == 3 ? to : row_.data();
      if (jpeg_read_scanlines(&info_, &row, 1) != 1) return false;
      if (info_.num_components == 1) grey_to_rgb(to);
      if (info_.num_components == 4) cmyk_to_rgb(to);
    }
    jpeg_finish_decompress(&info_);
    return true;
  }

  void grey_to_rgb(std::uint8_t* to) const noexcept {
    for (std::size_t x = 0; x < info_.output_width; ++x) to[3 * x] = to[3 * x + 1] = to[3 * x + 2] = row_[x];
  }

  /// CMYK is stored inverted, as Adobe writes it: R = K' - C K' / 255 with C = 255 - c and K' = k, rounded as Pillow
  /// does.
  void cmyk_to_rgb(std::uint8_t* to) const noexcept {
    for (std::size_t x = 0; x < info_.output_width; ++x) {
      const int white = row_[4 * x + 3];
      for (std::size_t c = 0; c < 3; ++c) {
        const int product = (255 - row_[4 * x + c]) * white + 128;
        const int value = white - (((product >> 8) + product) >> 8);
        to[3 * x + c] = static_cast<std::uint8_t>(value < 0 ? 0 : value);
      }
    }
  }

  byte_view bytes_;
  const image_limits& limits_;
  jpeg_decompress_struct info_ = {};
  jpeg_error_mgr errors_ = {};
  jpeg_progress_mgr progress_ = {};
  std::jmp_buf jump_;
  char message_[JMSG_LENGTH_MAX] = "unknown";
  bool created_ = false;
  image out_;
  byte_vector row_;
};

}  // namespace detail

/// Decodes a JPEG of one (grey), three (YCbCr or RGB) or four (CMYK, YCCK) components to RGB.
///
/// Slow integer transform and smooth chroma upsampling, the defaults of libjpeg-turbo and of Pillow: the same bytes.
/// \throws error negood.image.2 corrupt or truncated, .3 unsupported, .4 too large
inline image parse_jpeg(byte_view bytes, const std::string& name = "jpeg", const image_limits& limits = {}) {
  detail::jpeg_decoder decoder(bytes, limits);
  return decoder.decode(name);
}

inline image read_jpeg(const std::filesystem::path& path, const image_limits& limits = {}) {
  return parse_jpeg(read_file(path, limits.file_bytes), path.string(), limits);
}

}  // namespace negood
