// Pictures with transparency, laid over a colour.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "data/colour.h"
#include "data/image.h"
#include "data/image_header.h"

namespace cskd::data {

// The whole picture over that colour, upright: the pixels of a canvas of the colour onto which Pillow's
// Image.paste(picture, mask=alpha) put it. Nothing where every pixel is opaque, as of all JPEGs. Throws DataError as
// decode().
std::optional<Image> laid_over(std::span<const std::byte> bytes, const ImageHeader& header, const Colour& colour);

// [.., 4], not premultiplied, to [.., 3] over the colour.
std::vector<std::uint8_t> laid_over(std::span<const std::uint8_t> rgba, const Colour& colour);

}  // namespace cskd::data
