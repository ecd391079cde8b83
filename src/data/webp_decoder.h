// WebP to RGB through libwebp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "data/image.h"
#include "data/image_header.h"

namespace cskd::data {

// The whole picture; see decode.h. Throws DataError.
Image decode_webp(std::span<const std::byte> bytes, const ImageHeader& header);

// The same with its alpha, 255 where it has none: [height, width, 4], not premultiplied.
std::vector<std::uint8_t> decode_webp_rgba(std::span<const std::byte> bytes, const ImageHeader& header);

}  // namespace cskd::data
