// PNG to RGB through libspng.
#pragma once

#include <cstddef>
#include <span>

#include "data/image.h"
#include "data/image_header.h"

namespace cskd::data {

// The whole picture; see decode.h. Throws DataError with libspng's text.
Image decode_png(std::span<const std::byte> bytes, const ImageHeader& header);

}  // namespace cskd::data
