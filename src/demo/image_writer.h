// Encodes pictures as files, the same bytes for the same picture.
#pragma once

#include <string>

#include "demo/picture.h"

namespace cskd::demo {

enum class JpegColour { kYcc420, kYcc444, kGrey, kCmyk };

struct JpegOptions {
  int quality = 90;  // 1..100
  JpegColour colour = JpegColour::kYcc420;
  bool progressive = false;
  // EXIF orientation to store, 1..8; 0 writes no EXIF block. The pixels are encoded as they are.
  int orientation = 0;
};

// Each returns the whole file. CMYK is stored inverted with an Adobe marker, as Photoshop does. Throws Error when the
// library refuses, e.g. for an empty picture.
std::string encode_jpeg(const Picture& picture, const JpegOptions& options);
std::string encode_png(const Picture& picture);
std::string encode_webp(const Picture& picture, int quality);

// A PNG of a few bytes whose header promises `width` x `height` pixels, with a correct checksum.
std::string png_with_header(std::uint32_t width, std::uint32_t height);

// The pixels that show `upright` once a viewer has applied `orientation` (1..8, EXIF 2.3, tag 0x0112).
Picture stored_for_orientation(const Picture& upright, int orientation);

// Smaller by `factor` in (0, 1]: the mean of the area that each pixel covers.
Picture shrink(const Picture& picture, double factor);

}  // namespace cskd::demo
