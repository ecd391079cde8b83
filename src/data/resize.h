// Antialiased resampling in fixed point, bit for bit as Pillow's Image.resize(size, filter, box=...): 22-bit
// coefficients, horizontal pass first, uint8 in between.
#pragma once

#include <cstdint>

#include "data/image.h"

namespace cskd::data {

enum class Filter : std::uint8_t { kBilinear = 1, kBicubic = 2 };  // stored in feature caches; bicubic has a = -0.5

// `box` of `image` at width x height. REQUIRES: the box lies inside the image; width, height >= 1. Thread-safe.
Image resize(const Image& image, const Box& box, int width, int height, Filter filter);

// Mirrored left to right, in place.
void flip_horizontally(Image& image);

}  // namespace cskd::data
