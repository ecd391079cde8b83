// The header of an encoded picture, read before it is decoded. Hostile input is expected.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace cskd::data {

// Stored in image shards; the values never change.
enum class ImageFormat : std::uint8_t { kJpeg = 1, kPng = 2, kWebp = 3 };

// No picture with more pixels than this is ever decoded.
constexpr std::int64_t kMostPixels = 100'000'000;

struct ImageHeader {
  ImageFormat format = ImageFormat::kJpeg;
  int stored_width = 0;  // before orientation
  int stored_height = 0;
  int orientation = 1;  // EXIF 2.3, tag 0x0112, 1..8; 1 where there is none: Note [Orientation]

  int width() const { return orientation >= 5 ? stored_height : stored_width; }  // after orientation
  int height() const { return orientation >= 5 ? stored_width : stored_height; }
};

// `most_pixels` may be less than kMostPixels. Throws DataError with a short reason ("empty file", "not JPEG, PNG or
// WebP", "60000 x 60000 pixels, at most 100 million are decoded", "truncated header"); no file name, the caller adds
// it.
ImageHeader read_image_header(std::span<const std::byte> bytes, std::int64_t most_pixels = kMostPixels);

}  // namespace cskd::data
