// JPEG to RGB through libjpeg-turbo; an eighth of most files without it (jpeg_block_means.h).
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <span>

#include "data/image.h"
#include "data/image_header.h"

namespace cskd::data {

// Whether colours may have half of the resolution of an eighth, where the file has no more (jpeg_block_means.h).
enum class ColourDetail : std::uint8_t { kFull, kHalf };

// `box` in stored coordinates, not turned upright; see decode.h. Throws DataError with libjpeg's text for any error or
// warning in the data that had to be read: all of it when the box is the whole picture. With a `reduction` of 2, 4 or 8
// fewer frequencies are decoded to a picture of so many times fewer pixels a side, rounded up, to which the box then
// belongs. REQUIRES: box lies inside that picture
Image decode_jpeg(std::span<const std::byte> bytes, const ImageHeader& header, const Box& box, int reduction = 1,
                  ColourDetail colour = ColourDetail::kFull);

// Rows of a picture from the top: `count` of them from `first` on, which lie `pitch` bytes apart.
using TakeRows = std::function<void(int first, int count, const std::uint8_t* rows, std::size_t pitch)>;

enum class PixelLayout : std::uint8_t { kRgb = 3, kRgbx = 4 };  // bytes of a pixel; the fourth one means nothing

constexpr std::size_t kReadBehind = 16;

// The same, `strip` rows at a time (the last time what is left): pixels are used while they lie in a core's cache, and
// no memory holds them all. kReadBehind bytes behind the last row of a strip may be read. Throws as decode_jpeg(), when
// some rows may have been taken, and what `take` throws. REQUIRES: strip >= 1
void decode_jpeg_rows(std::span<const std::byte> bytes, const ImageHeader& header, const Box& box, int reduction,
                      ColourDetail colour, PixelLayout layout, int strip, const TakeRows& take);

}  // namespace cskd::data
