// RGB to PNG through libspng.
#pragma once

#include <string>

#include "data/image.h"

namespace cskd::data {

// The bytes of a PNG file. Throws Error with libspng's text.
std::string encode_png(const Image& image);

}  // namespace cskd::data
