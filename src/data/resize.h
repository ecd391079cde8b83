// Antialiased resampling in fixed point, bit for bit as Pillow's Image.resize(size, filter, box=...): 22-bit
// coefficients, horizontal pass first, uint8 in between.
#pragma once

#include <cstdint>

#include "data/image.h"

namespace cskd::data {

enum class Filter : std::uint8_t { kBilinear = 1, kBicubic = 2 };  // stored in feature caches; bicubic has a = -0.5

// How exactly. Both are the same on every processor.
enum class ResizeMode : std::uint8_t {
  kExact = 1,  // bit for bit as Pillow
  // Coefficients of 16 bits, where a picture does not become more than 16 times smaller: no sample is more than 2 of
  // 255 levels away from kExact.
  kFast = 2,
};

// `box` of `image` at width x height. REQUIRES: the box lies inside the image; width, height >= 1. Thread-safe.
Image resize(const Image& image, const Rectangle& box, int width, int height, Filter filter, ResizeMode mode);
Image resize(const Image& image, const Box& box, int width, int height, Filter filter);  // kExact

// Mirrored left to right, in place.
void flip_horizontally(Image& image);

}  // namespace cskd::data
