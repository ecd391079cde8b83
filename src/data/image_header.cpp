#include "data/image_header.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <string_view>

#include <fmt/format.h>
#include <webp/decode.h>

#include "data/orientation.h"
#include "runtime/error.h"

namespace cskd::data {
namespace {

using runtime::DataError;
using Bytes = std::span<const std::byte>;

constexpr std::string_view kXmpName("http://ns.adobe.com/xap/1.0/\0", 29);

[[noreturn]] void refuse_truncated() { throw DataError("truncated header"); }

bool starts_with(Bytes bytes, std::string_view text) {
  return bytes.size() >= text.size() && std::memcmp(bytes.data(), text.data(), text.size()) == 0;
}

// Big-endian number of `count` bytes at `offset`.
std::uint32_t number_at(Bytes bytes, std::size_t offset, std::size_t count) {
  if (bytes.size() < offset + count) refuse_truncated();
  std::uint32_t number = 0;
  for (std::size_t i = 0; i < count; ++i) number = number << 8U | std::to_integer<std::uint32_t>(bytes[offset + i]);
  return number;
}

// `orientation`: 0 where nothing tells.
ImageHeader checked(ImageFormat format, std::int64_t width, std::int64_t height, int orientation,
                    std::int64_t most_pixels) {
  if (width == 0 || height == 0) throw DataError(fmt::format("{} x {} pixels", width, height));
  // Neither is more than 2^32 - 1, so the product of the two can overflow, their quotient cannot.
  if (width > most_pixels / height) {
    throw DataError(
        fmt::format("{} x {} pixels, at most {} million are decoded", width, height, most_pixels / 1'000'000));
  }
  return {format, static_cast<int>(width), static_cast<int>(height), orientation == 0 ? 1 : orientation};
}

bool is_frame_header(std::uint32_t marker) {
  return marker >= 0xC0 && marker <= 0xCF && marker != 0xC4 && marker != 0xC8 && marker != 0xCC;
}

// Walks the segments up to the first scan: ITU-T T.81, annex B. Stray bytes between them are passed over, as by
// libjpeg.
ImageHeader read_jpeg_header(Bytes bytes, std::int64_t most_pixels) {
  std::int64_t width = -1;
  std::int64_t height = -1;
  int orientation = 0;
  int of_xmp = 0;
  for (std::size_t offset = 2;;) {
    std::uint32_t marker = 0;
    while (marker == 0) {
      while (number_at(bytes, offset, 1) != 0xFF) ++offset;
      for (marker = 0xFF; marker == 0xFF; ++offset) marker = number_at(bytes, offset + 1, 1);
      ++offset;
    }
    if (marker == 0x01 || (marker >= 0xD0 && marker <= 0xD7)) continue;  // TEM and RSTn have no content
    if (marker == 0xD8 || marker == 0xD9) throw DataError("damaged JPEG header");
    if (marker == 0xDA) break;
    const std::uint32_t length = number_at(bytes, offset, 2);
    if (length < 2) throw DataError("damaged JPEG header");
    if (bytes.size() < offset + length) refuse_truncated();
    const Bytes content = bytes.subspan(offset + 2, length - 2);
    if (is_frame_header(marker)) {
      if (width >= 0 || content.size() < 6) throw DataError("damaged JPEG header");
      height = number_at(content, 1, 2);
      width = number_at(content, 3, 2);
    } else if (marker == 0xE1 && orientation == 0 && starts_with(content, kExifName)) {
      orientation = exif_orientation(content.subspan(kExifName.size()));
    } else if (marker == 0xE1 && of_xmp == 0 && starts_with(content, kXmpName)) {
      const Bytes packet = content.subspan(kXmpName.size());
      of_xmp = xmp_orientation({reinterpret_cast<const char*>(packet.data()), packet.size()});
    }
    offset += length;
  }
  if (width < 0) throw DataError("JPEG without a frame header");
  return checked(ImageFormat::kJpeg, width, height, orientation == 0 ? of_xmp : orientation, most_pixels);
}

ImageHeader read_png_header(Bytes bytes, std::int64_t most_pixels) {
  constexpr std::string_view kFirstChunk("\0\0\0\rIHDR", 8);
  if (bytes.size() < 33) refuse_truncated();
  if (!starts_with(bytes.subspan(8), kFirstChunk)) throw DataError("damaged PNG header");
  return checked(ImageFormat::kPng, number_at(bytes, 16, 4), number_at(bytes, 20, 4), png_orientation(bytes),
                 most_pixels);
}

ImageHeader read_webp_header(Bytes bytes, std::int64_t most_pixels) {
  WebPBitstreamFeatures features;
  const VP8StatusCode status =
      WebPGetFeatures(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size(), &features);
  if (status == VP8_STATUS_NOT_ENOUGH_DATA) refuse_truncated();
  if (status != VP8_STATUS_OK) throw DataError("damaged WebP header");
  if (features.has_animation != 0) throw DataError("animated WebP");
  return checked(ImageFormat::kWebp, features.width, features.height, webp_orientation(bytes), most_pixels);
}

}  // namespace

ImageHeader read_image_header(Bytes bytes, std::int64_t most_pixels) {
  if (bytes.empty()) throw DataError("empty file");
  if (starts_with(bytes, "\xFF\xD8\xFF")) return read_jpeg_header(bytes, most_pixels);
  if (starts_with(bytes, "\x89PNG\r\n\x1A\n")) return read_png_header(bytes, most_pixels);
  if (starts_with(bytes, "RIFF") && bytes.size() >= 12 && starts_with(bytes.subspan(8), "WEBP")) {
    return read_webp_header(bytes, most_pixels);
  }
  throw DataError("not JPEG, PNG or WebP");
}

}  // namespace cskd::data
