// JPEG to RGB through libjpeg-turbo.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "data/image.h"
#include "data/image_header.h"

namespace cskd::data {

// `box` in stored coordinates, not turned upright; see decode.h. Throws DataError with libjpeg's text for any error or
// warning in the data that had to be read: all of it when the box is the whole picture. With a `reduction` of 2, 4 or 8
// libjpeg decodes fewer frequencies to a picture of so many times fewer pixels a side, rounded up, to which the box
// then belongs. REQUIRES: box lies inside that picture
Image decode_jpeg(std::span<const std::byte> bytes, const ImageHeader& header, const Box& box, int reduction = 1);

// Rows of a picture from the top: `count` of them from `first` on, which lie `pitch` bytes apart.
using TakeRows = std::function<void(int first, int count, const std::uint8_t* rows, std::size_t pitch)>;

enum class PixelLayout : std::uint8_t { kRgb = 3, kRgbx = 4 };  // bytes of a pixel; the fourth one means nothing

// The same, `strip` rows at a time (the last time what is left): pixels are used while they lie in a core's cache, and
// no memory holds them all. 16 bytes behind the last row of a strip may be read. Throws as decode_jpeg(), when some
// rows may have been taken, and what `take` throws. REQUIRES: strip >= 1
void decode_jpeg_rows(std::span<const std::byte> bytes, const ImageHeader& header, const Box& box, int reduction,
                      PixelLayout layout, int strip, const TakeRows& take);

}  // namespace cskd::data
