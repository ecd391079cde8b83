// RGB to PNG through libspng.
#pragma once

#include <string>

#include "data/decode.h"

namespace cskd::report {

// The bytes of a PNG file. Throws Error with libspng's text.
std::string encode_png(const data::Image& image);

}  // namespace cskd::report
