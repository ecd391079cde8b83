// PNG to RGB through libspng.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "data/image.h"
#include "data/image_header.h"

namespace cskd::data {

// The whole picture; see decode.h. Throws DataError with libspng's text.
Image decode_png(std::span<const std::byte> bytes, const ImageHeader& header);

// The same with its alpha, or with that of its transparent colours: [height, width, 4], not premultiplied.
std::vector<std::uint8_t> decode_png_rgba(std::span<const std::byte> bytes, const ImageHeader& header);

}  // namespace cskd::data
