// Pictures and their encoded forms for the tests of decoding.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "data/image.h"

namespace cskd::data::tests {

struct JpegForm {
  int components = 3;  // 1 grey, 3 colour, 4 CMYK
  int horizontal = 2;  // sampling factors of the first component; the others have 1
  int vertical = 2;
  bool progressive = false;
  bool arithmetic = false;
  bool scan_for_each = false;  // a scan for each of the three components
  unsigned restart_interval = 0;
  int orientation = 0;  // 0 writes no Exif
};

// Smooth colours, hard edges and noise, the same for the same arguments.
Image scene(int width, int height, std::uint32_t seed = 0);

// Every channel of every pixel has this value.
inline Image blank(int width, int height, std::uint8_t value) {
  const std::size_t pixels = static_cast<std::size_t>(width) * static_cast<std::size_t>(height);
  return {width, height, std::vector<std::uint8_t>(3 * pixels, value)};
}

// Its three channels.
inline const std::uint8_t* pixel(const Image& image, int x, int y) { return image.row(y) + std::ptrdiff_t{3} * x; }

// Mirrored left to right, in place.
void flip_horizontally(Image& image);

std::string jpeg(const Image& image, const JpegForm& form);
std::string png(const Image& image);
std::string webp(const Image& image, bool lossless);
// The same JPEG with an APP1 segment of this content behind its first marker.
std::string with_exif(const std::string& jpeg, const std::string& content);
// "Exif\0\0" and a little- or big-endian directory with one orientation entry.
std::string exif_with_orientation(int orientation, bool little_endian);

inline std::span<const std::byte> bytes_of(const std::string& text) { return std::as_bytes(std::span(text)); }

}  // namespace cskd::data::tests
