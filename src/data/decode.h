// From encoded bytes to upright RGB pixels, as Pillow's Image.open(...).convert("RGB") after ImageOps.exif_transpose:
// grey is repeated, CMYK (Adobe's inverted too) converted by (255-c)*(255-k)/255, alpha dropped, palettes looked up,
// 16-bit PNG reduced to its high byte.
#pragma once

#include <cstddef>
#include <span>

#include "data/image.h"
#include "data/image_header.h"
#include "data/jpeg_decoder.h"

namespace cskd::data {

// Raise it with any change that changes a decoded or resized pixel: feature caches are bound to it.
constexpr int kDecoderVersion = 3;

// The whole picture. Throws DataError with a short reason; a JPEG whose data ends early or is damaged is refused too,
// so that a shard never holds it. Thread-safe.
Image decode(std::span<const std::byte> bytes);

// Only `box` (upright source pixels) of the picture: equal, pixel for pixel, to that part of decode(). For JPEG only
// the rows and iMCU columns that are needed are decoded. Throws DataError as decode(), and where the box does not lie
// inside the picture: it was made for a picture of another size, or one turned otherwise.
Image decode_region(std::span<const std::byte> bytes, const ImageHeader& header, const Box& box);

// Where a part of a picture lies at a lower resolution, in stored coordinates.
struct ReducedBox {
  int reduction = 1;                          // 1, 2, 4 or 8: so many times fewer pixels a side
  Box pixels;                                 // of that smaller picture: all that the part touches
  Rectangle inside;                           // the part, within `pixels`
  ColourDetail colour = ColourDetail::kFull;  // half, where that still has as many pixels as were asked for
};

// The lowest resolution at which `box` (upright source pixels) still has at least `side` pixels in both directions;
// below 1 for JPEG only, where fewer pixels are then computed (decode_jpeg()). Throws DataError as decode_region()
// for the box. REQUIRES: side >= 1
ReducedBox reduced_box(const ImageHeader& header, const Box& box, int side);

// The same box decoded and turned upright. `inside` is where the part lies in it.
Image decode_reduced(std::span<const std::byte> bytes, const ImageHeader& header, const ReducedBox& box,
                     Rectangle& inside);

// A stored picture as it is to be seen: Note [Orientation].
Image turn_upright(Image stored, int orientation);

}  // namespace cskd::data
