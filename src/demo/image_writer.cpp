#include "demo/image_writer.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <csetjmp>
#include <cstdio>
#include <cstdlib>
#include <memory>

#include <fmt/format.h>
#include <jpeglib.h>
#include <spng.h>
#include <webp/encode.h>

#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::demo {
namespace {

struct FreeDeleter {
  void operator()(void* memory) const { std::free(memory); }
};

struct JpegFailure {
  jpeg_error_mgr manager;  // first, so that libjpeg's pointer to it is a pointer to this
  std::jmp_buf place;
};

void on_jpeg_error(j_common_ptr info) { std::longjmp(reinterpret_cast<JpegFailure*>(info->err)->place, 1); }
void ignore_jpeg_message(j_common_ptr) {}

// EXIF block with one entry, the orientation (TIFF, big-endian).
std::array<unsigned char, 32> exif_block(int orientation) {
  return {'E', 'x', 'i', 'f',  0,    0, 'M', 'M', 0, 42, 0, 0, 0,
          8,   0,   1,   0x01, 0x12, 0, 3,   0,   0, 0,  1, 0, static_cast<unsigned char>(orientation),
          0,   0,   0,   0,    0,    0};
}

// Rows as libjpeg wants them: RGB as it is, one grey byte, or inverted CMYK.
std::vector<std::uint8_t> jpeg_samples(const Picture& picture, JpegColour colour) {
  if (colour != JpegColour::kGrey && colour != JpegColour::kCmyk) return picture.rgb;
  std::vector<std::uint8_t> samples;
  samples.reserve(picture.rgb.size() * 4 / 3);
  for (size_t i = 0; i < picture.rgb.size(); i += 3) {
    const int r = picture.rgb[i];
    const int g = picture.rgb[i + 1];
    const int b = picture.rgb[i + 2];
    if (colour == JpegColour::kGrey) {
      samples.push_back(static_cast<std::uint8_t>((r * 299 + g * 587 + b * 114 + 500) / 1000));
      continue;
    }
    // Ink is 255 - c; black takes what all three share. Stored inverted: 255 is no ink.
    const int light = std::max({r, g, b});
    const auto without_black = [light](int c) {
      return static_cast<std::uint8_t>(light == 0 ? 255 : (c * 255 + light / 2) / light);
    };
    samples.insert(samples.end(),
                   {without_black(r), without_black(g), without_black(b), static_cast<std::uint8_t>(light)});
  }
  return samples;
}

// No object with a destructor lives in here: libjpeg reports errors by longjmp. Returns an error text, empty when it
// went well.
bool compress(const Picture& picture, const JpegOptions& options, const std::uint8_t* samples, int channels,
              unsigned char** memory, unsigned long* size) {
  jpeg_compress_struct info;
  JpegFailure failure;
  info.err = jpeg_std_error(&failure.manager);
  failure.manager.error_exit = on_jpeg_error;
  failure.manager.output_message = ignore_jpeg_message;
  jpeg_create_compress(&info);
  if (setjmp(failure.place) != 0) {
    jpeg_destroy_compress(&info);
    return false;
  }
  jpeg_mem_dest(&info, memory, size);
  info.image_width = static_cast<JDIMENSION>(picture.width);
  info.image_height = static_cast<JDIMENSION>(picture.height);
  info.input_components = channels;
  info.in_color_space = channels == 1 ? JCS_GRAYSCALE : channels == 4 ? JCS_CMYK : JCS_RGB;
  jpeg_set_defaults(&info);
  jpeg_set_quality(&info, options.quality, TRUE);
  info.dct_method = JDCT_ISLOW;
  if (options.colour == JpegColour::kYcc444) {
    info.comp_info[0].h_samp_factor = 1;
    info.comp_info[0].v_samp_factor = 1;
  }
  if (options.progressive) jpeg_simple_progression(&info);
  jpeg_start_compress(&info, TRUE);
  if (options.orientation != 0) {
    const std::array<unsigned char, 32> block = exif_block(options.orientation);
    jpeg_write_marker(&info, JPEG_APP0 + 1, block.data(), block.size());
  }
  const size_t stride = static_cast<size_t>(picture.width) * static_cast<size_t>(channels);
  while (info.next_scanline < info.image_height) {
    auto* row = const_cast<std::uint8_t*>(samples + info.next_scanline * stride);
    jpeg_write_scanlines(&info, &row, 1);
  }
  jpeg_finish_compress(&info);
  jpeg_destroy_compress(&info);
  return true;
}

std::uint32_t crc32_of(const std::string& bytes) {
  std::uint32_t crc = 0xFFFFFFFFU;
  for (const char byte : bytes) {
    crc ^= static_cast<unsigned char>(byte);
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1U) ^ ((crc & 1U) != 0 ? 0xEDB88320U : 0U);
  }
  return ~crc;
}

std::string big_endian(std::uint32_t number) {
  std::string bytes(4, '\0');
  for (int i = 0; i < 4; ++i) bytes[static_cast<size_t>(i)] = static_cast<char>(number >> (24 - 8 * i));
  return bytes;
}

std::string png_chunk(const std::string& type, const std::string& data) {
  return big_endian(static_cast<std::uint32_t>(data.size())) + type + data + big_endian(crc32_of(type + data));
}

}  // namespace

std::string encode_jpeg(const Picture& picture, const JpegOptions& options) {
  const int channels = options.colour == JpegColour::kGrey ? 1 : options.colour == JpegColour::kCmyk ? 4 : 3;
  const std::vector<std::uint8_t> samples = jpeg_samples(picture, options.colour);
  unsigned char* memory = nullptr;
  unsigned long size = 0;
  const bool done = compress(picture, options, samples.data(), channels, &memory, &size);
  const std::unique_ptr<unsigned char, FreeDeleter> owner(memory);
  if (!done) throw runtime::Error(fmt::format("libjpeg cannot encode {} x {} pixels", picture.width, picture.height));
  return {reinterpret_cast<const char*>(memory), size};
}

std::string encode_png(const Picture& picture) {
  const std::unique_ptr<spng_ctx, void (*)(spng_ctx*)> context(spng_ctx_new(SPNG_CTX_ENCODER), spng_ctx_free);
  spng_set_option(context.get(), SPNG_ENCODE_TO_BUFFER, 1);
  spng_set_option(context.get(), SPNG_IMG_COMPRESSION_LEVEL, 3);
  spng_set_option(context.get(), SPNG_FILTER_CHOICE, SPNG_FILTER_CHOICE_SUB | SPNG_FILTER_CHOICE_UP);
  spng_ihdr header{};
  header.width = static_cast<std::uint32_t>(picture.width);
  header.height = static_cast<std::uint32_t>(picture.height);
  header.bit_depth = 8;
  header.color_type = SPNG_COLOR_TYPE_TRUECOLOR;
  spng_set_ihdr(context.get(), &header);
  int status =
      spng_encode_image(context.get(), picture.rgb.data(), picture.rgb.size(), SPNG_FMT_PNG, SPNG_ENCODE_FINALIZE);
  size_t size = 0;
  const std::unique_ptr<void, FreeDeleter> bytes(status == 0 ? spng_get_png_buffer(context.get(), &size, &status)
                                                             : nullptr);
  if (status != 0 || !bytes) throw runtime::Error(fmt::format("libspng cannot encode: {}", spng_strerror(status)));
  return {static_cast<const char*>(bytes.get()), size};
}

std::string encode_webp(const Picture& picture, int quality) {
  std::uint8_t* bytes = nullptr;
  const size_t size = WebPEncodeRGB(picture.rgb.data(), picture.width, picture.height, picture.width * 3,
                                    static_cast<float>(quality), &bytes);
  const std::unique_ptr<std::uint8_t, void (*)(void*)> owner(bytes, WebPFree);
  if (size == 0)
    throw runtime::Error(fmt::format("libwebp cannot encode {} x {} pixels", picture.width, picture.height));
  return {reinterpret_cast<const char*>(bytes), size};
}

std::string png_with_header(std::uint32_t width, std::uint32_t height) {
  constexpr char kDepthTypeRest[] = {8, 2, 0, 0, 0};
  const std::string header = big_endian(width) + big_endian(height) + std::string(kDepthTypeRest, 5);
  // An empty deflate stream: the decoder has to notice by itself that no pixel follows.
  const std::string data("\x78\x01\x03\x00\x00\x00\x00\x01", 8);
  return "\x89PNG\r\n\x1a\n" + png_chunk("IHDR", header) + png_chunk("IDAT", data) + png_chunk("IEND", "");
}

Picture stored_for_orientation(const Picture& upright, int orientation) {
  CSKD_CHECK(orientation >= 1 && orientation <= 8, "orientation {}", orientation);
  const bool turned = orientation >= 5;
  Picture stored{turned ? upright.height : upright.width, turned ? upright.width : upright.height,
                 std::vector<std::uint8_t>(upright.rgb.size())};
  for (int y = 0; y < upright.height; ++y) {
    for (int x = 0; x < upright.width; ++x) {
      const int right = upright.width - 1 - x;
      const int up = upright.height - 1 - y;
      // Where the upright pixel (x, y) lies in the file: row 0 and column 0 of the file are at the visual place the tag
      // names.
      const std::array<std::array<int, 2>, 8> places{
          {{x, y}, {right, y}, {right, up}, {x, up}, {y, x}, {y, right}, {up, right}, {up, x}}};
      const auto [column, row] = places[static_cast<size_t>(orientation - 1)];
      const std::uint8_t* from = upright.row(y) + static_cast<std::ptrdiff_t>(x) * 3;
      std::copy(from, from + 3, stored.rgb.begin() + (static_cast<std::ptrdiff_t>(row) * stored.width + column) * 3);
    }
  }
  return stored;
}

Picture shrink(const Picture& picture, double factor) {
  CSKD_CHECK(factor > 0 && factor <= 1, "factor {}", factor);
  Picture small{std::max(1, static_cast<int>(picture.width * factor)),
                std::max(1, static_cast<int>(picture.height * factor)),
                {}};
  small.rgb.reserve(static_cast<size_t>(small.width) * static_cast<size_t>(small.height) * 3);
  // Weight of source index i for target index t: the overlap of [i, i + 1) with the target's interval.
  const auto overlap = [](int i, double low, double high) {
    return std::min(high, i + 1.0) - std::max(low, static_cast<double>(i));
  };
  for (int ty = 0; ty < small.height; ++ty) {
    const double top = static_cast<double>(ty) * picture.height / small.height;
    const double bottom = static_cast<double>(ty + 1) * picture.height / small.height;
    for (int tx = 0; tx < small.width; ++tx) {
      const double left = static_cast<double>(tx) * picture.width / small.width;
      const double right = static_cast<double>(tx + 1) * picture.width / small.width;
      std::array<double, 3> sum{};
      for (int y = static_cast<int>(top); y < std::min(picture.height, static_cast<int>(std::ceil(bottom))); ++y) {
        for (int x = static_cast<int>(left); x < std::min(picture.width, static_cast<int>(std::ceil(right))); ++x) {
          const double weight = overlap(y, top, bottom) * overlap(x, left, right);
          for (size_t c = 0; c < 3; ++c) sum[c] += weight * picture.row(y)[static_cast<size_t>(x) * 3 + c];
        }
      }
      const double area = (bottom - top) * (right - left);
      for (const double value : sum) small.rgb.push_back(static_cast<std::uint8_t>(std::lround(value / area)));
    }
  }
  return small;
}

}  // namespace cskd::demo
