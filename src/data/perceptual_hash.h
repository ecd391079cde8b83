// A 64-bit hash of what a picture looks like: bit i says whether the i-th of the 8 x 8 lowest frequencies of the DCT-II
// of the 32 x 32 grey picture (bilinear resize, ITU-R 601 luma, rows first) lies above their median; bit 0 (the mean
// brightness) is left out of the median. pHash, Zauner, "Implementation and Benchmarking of Perceptual Image Hash
// Functions", 2010.
#pragma once

#include <cstdint>

#include "data/image.h"

namespace cskd::data {

std::uint64_t perceptual_hash(const Image& image);

}  // namespace cskd::data
