// RGB pixels to JPEG.
#pragma once

#include <cstddef>
#include <vector>

#include "data/image.h"

namespace cskd::data {

// Baseline JPEG, 4:2:0, as Pillow's Image.save(quality=quality) compresses the same pixels. Equal pixels give equal
// bytes. Thread-safe. REQUIRES: quality is 1 to 100, on libjpeg's scale
std::vector<std::byte> encode_jpeg(const Image& image, int quality);

}  // namespace cskd::data
