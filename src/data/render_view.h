// From an encoded picture and a view to the pixels an encoder sees.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "data/image_header.h"
#include "data/resize.h"
#include "data/view.h"

namespace cskd::data {

// The filter of every view: CLIP's.
constexpr Filter kViewFilter = Filter::kBicubic;

// Writes the view at `side` x `side` pixels to `target` [side, side, 3]. kExact: the pixels of Pillow's
// Image.crop(box).resize(). kFast: a JPEG whose box is at least twice as large as `side` is decoded at a lower
// resolution (reduced_box()), then resized by kFast. Throws DataError with a short reason when the bytes
// cannot be decoded. REQUIRES: the view's box lies inside the picture
void render_view(std::span<const std::byte> bytes, const View& view, int side, ResizeMode mode,
                 std::span<std::uint8_t> target);
// The same with a header that was read already, whose orientation may be another one.
void render_view(std::span<const std::byte> bytes, const ImageHeader& header, const View& view, int side,
                 ResizeMode mode, std::span<std::uint8_t> target);

}  // namespace cskd::data
