// Small pictures for people.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "data/image.h"
#include "data/image_header.h"

namespace cskd::data {

// The whole picture in its own shape, upright, its longer side at most `side` pixels. `header`: of `bytes`. Throws
// DataError as decode(). REQUIRES: side >= 1
Image shrunk(std::span<const std::byte> bytes, const ImageHeader& header, int side);
// The same of a picture that was decoded already.
Image shrunk(const Image& image, int side);

// Of such a picture, as JPEG.
std::string thumbnail(const Image& shrunk, int quality);

}  // namespace cskd::data
