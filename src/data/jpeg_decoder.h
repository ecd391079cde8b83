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

// Rows of a picture from the top: `count` of them from `first` on, [count, width, 3].
using TakeRows = std::function<void(int first, int count, const std::uint8_t* rows)>;

// The whole picture, `strip` rows at a time (the last time what is left): pixels are used while they lie in a core's
// cache, and no memory holds them all. Throws as decode_jpeg(), when some rows may have been taken, and what `take`
// throws. REQUIRES: strip >= 1
void decode_jpeg_rows(std::span<const std::byte> bytes, const ImageHeader& header, int strip, const TakeRows& take);

}  // namespace cskd::data
