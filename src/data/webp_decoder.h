// WebP to RGB through libwebp.
#pragma once

#include <cstddef>
#include <span>

#include "data/image.h"
#include "data/image_header.h"

namespace cskd::data {

// The whole picture; see decode.h. Throws DataError.
Image decode_webp(std::span<const std::byte> bytes, const ImageHeader& header);

}  // namespace cskd::data
