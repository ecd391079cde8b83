// JPEG to RGB through libjpeg-turbo.
#pragma once

#include <cstddef>
#include <span>

#include "data/image.h"
#include "data/image_header.h"

namespace cskd::data {

// `box` in stored coordinates, not turned upright; see decode.h. Throws DataError with libjpeg's text for any error or
// warning in the data that had to be read: all of it when the box is the whole picture. REQUIRES: box lies inside the
// picture
Image decode_jpeg(std::span<const std::byte> bytes, const ImageHeader& header, const Box& box);

}  // namespace cskd::data
