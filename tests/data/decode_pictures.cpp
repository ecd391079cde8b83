#include "tests/data/decode_pictures.h"

#include <algorithm>
#include <cmath>
#include <cstdio>  // jpeglib.h needs it
#include <cstdlib>
#include <memory>
#include <stdexcept>

#include <jpeglib.h>
#include <spng.h>
#include <webp/encode.h>

#include "runtime/philox.h"

namespace cskd::data::tests {

Image scene(int width, int height, std::uint32_t seed) {
  runtime::Philox random(seed, 0, 0);
  Image image{width, height, {}};
  image.rgb.reserve(std::size_t{3} * static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
  for (int y = 0; y < height; ++y) {
    for (int x = 0; x < width; ++x) {
      const bool edge = (x / 11 + y / 7) % 5 == 0;
      for (int c = 0; c < 3; ++c) {
        const double wave = 100 * std::sin(x / 9.0 + y / 31.0 + c) * std::cos(y / 13.0 - x * c / 57.0);
        const double value = edge ? 255.0 * ((c + x / 11) % 2) : 127 + wave + 24 * random.uniform(-1, 1);
        image.rgb.push_back(static_cast<std::uint8_t>(std::clamp(value, 0.0, 255.0)));
      }
    }
  }
  return image;
}

void flip_horizontally(Image& image) {
  for (int y = 0; y < image.height; ++y) {
    std::uint8_t* left = image.row(y);
    std::uint8_t* right = left + std::ptrdiff_t{3} * (image.width - 1);
    for (; left < right; left += 3, right -= 3) std::swap_ranges(left, left + 3, right);
  }
}

std::string jpeg(const Image& image, const JpegForm& form) {
  // The standard error handler ends the program: a test that cannot make its picture has nothing to go on with.
  jpeg_error_mgr errors;
  jpeg_compress_struct info;
  info.err = jpeg_std_error(&errors);
  jpeg_create_compress(&info);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  jpeg_mem_dest(&info, &memory, &size);
  info.image_width = static_cast<JDIMENSION>(image.width);
  info.image_height = static_cast<JDIMENSION>(image.height);
  info.input_components = form.components;
  info.in_color_space = form.components == 1 ? JCS_GRAYSCALE : form.components == 4 ? JCS_CMYK : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, 85, TRUE);
  info.comp_info[0].h_samp_factor = form.horizontal;
  info.comp_info[0].v_samp_factor = form.vertical;
  info.restart_interval = form.restart_interval;
  info.arith_code = form.arithmetic ? TRUE : FALSE;
  if (form.progressive) jpeg_simple_progression(&info);
  const jpeg_scan_info scans[] = {{1, {0}, 0, 63, 0, 0}, {1, {1}, 0, 63, 0, 0}, {1, {2}, 0, 63, 0, 0}};
  if (form.scan_for_each) {
    info.scan_info = scans;
    info.num_scans = 3;
  }
  jpeg_start_compress(&info, TRUE);
  if (form.orientation != 0) {
    const std::string exif = exif_with_orientation(form.orientation, form.orientation % 2 == 0);
    jpeg_write_marker(&info, JPEG_APP0 + 1, reinterpret_cast<const JOCTET*>(exif.data()),
                      static_cast<unsigned>(exif.size()));
  }
  std::vector<std::uint8_t> row;
  for (int y = 0; y < image.height; ++y) {
    const std::uint8_t* from = image.row(y);
    row.clear();
    for (int x = 0; x < image.width; ++x, from += 3) {
      row.insert(row.end(), from, from + std::min(form.components, 3));
      if (form.components == 4) row.push_back(static_cast<std::uint8_t>(x * 3 + y));
    }
    JSAMPROW pointer = row.data();
    jpeg_write_scanlines(&info, &pointer, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  std::string encoded(reinterpret_cast<const char*>(memory), size);
  std::free(memory);
  return encoded;
}

std::string png(const Image& image) {
  const std::unique_ptr<spng_ctx, void (*)(spng_ctx*)> context(spng_ctx_new(SPNG_CTX_ENCODER), spng_ctx_free);
  spng_set_option(context.get(), SPNG_ENCODE_TO_BUFFER, 1);
  spng_ihdr header{};
  header.width = static_cast<std::uint32_t>(image.width);
  header.height = static_cast<std::uint32_t>(image.height);
  header.bit_depth = 8;
  header.color_type = SPNG_COLOR_TYPE_TRUECOLOR;
  spng_set_ihdr(context.get(), &header);
  int status = spng_encode_image(context.get(), image.rgb.data(), image.rgb.size(), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
  std::size_t size = 0;
  void* memory = status == 0 ? spng_get_png_buffer(context.get(), &size, &status) : nullptr;
  if (memory == nullptr) throw std::runtime_error(spng_strerror(status));
  std::string encoded(static_cast<const char*>(memory), size);
  std::free(memory);
  return encoded;
}

std::string webp(const Image& image, bool lossless) {
  std::uint8_t* memory = nullptr;
  const std::size_t size =
      lossless ? WebPEncodeLosslessRGB(image.rgb.data(), image.width, image.height, image.width * 3, &memory)
               : WebPEncodeRGB(image.rgb.data(), image.width, image.height, image.width * 3, 80, &memory);
  if (size == 0) throw std::runtime_error("libwebp cannot encode");
  std::string encoded(reinterpret_cast<const char*>(memory), size);
  WebPFree(memory);
  return encoded;
}

std::string with_exif(const std::string& jpeg, const std::string& content) {
  const std::size_t length = content.size() + 2;
  const std::string marker{'\xFF', '\xE1', static_cast<char>(length >> 8U), static_cast<char>(length)};
  return jpeg.substr(0, 2) + marker + content + jpeg.substr(2);
}

std::string exif_with_orientation(int orientation, bool little_endian) {
  const auto number = [little_endian](unsigned value, std::size_t bytes) {
    std::string text;
    for (std::size_t i = 0; i < bytes; ++i) text.push_back(static_cast<char>(value >> (8 * i)));
    if (!little_endian) std::reverse(text.begin(), text.end());
    return text;
  };
  return std::string("Exif\0\0", 6) + (little_endian ? "II" : "MM") + number(42, 2) + number(8, 4) + number(1, 2) +
         number(0x0112, 2) + number(3, 2) + number(1, 4) + number(static_cast<unsigned>(orientation), 2) +
         number(0, 2) + number(0, 4);
}

}  // namespace cskd::data::tests
