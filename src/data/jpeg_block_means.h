// An eighth of a JPEG, from the means of its blocks alone.
//
// Note [Means of blocks]
// The DC coefficient of a block of 8 x 8 pixels is its mean. A picture at an eighth of its size needs no other one, and
// an encoder that looks at 96 or 224 pixels of a photo of 12 megapixels needs no more than that eighth. But what lies
// between two DC coefficients has no length: the codes in between must be read one by one to find where the next block
// begins. libjpeg reads each code and the bits that belong to it. As their values are not asked for, a table can say of
// the next 13 bits how many whole codes with their bits they hold, and how many coefficients that makes: two or three
// with each look, most of the time.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "data/image_header.h"
#include "data/jpeg_decoder.h"

namespace cskd::data {

struct BlockMeans {
  int width = 0;  // of an eighth, rounded up
  int height = 0;
  PixelLayout layout = PixelLayout::kRgb;
  std::vector<std::uint8_t> pixels;  // [rows, width, layout], and kReadBehind bytes
};

// The first `rows` rows of an eighth of a JPEG. None where jpeg_layout() has none, where colour was halved and its full
// detail is asked for, and for a file with damage in what had to be read, all of it where all rows are asked for:
// libjpeg then says what it is. Equal to libjpeg's eighth to the last bit; but that halved colour is interpolated from
// the means of its blocks, where libjpeg computes up to four pixels of each.
std::optional<BlockMeans> decode_block_means(std::span<const std::byte> bytes, const ImageHeader& header, int rows,
                                             ColourDetail colour, PixelLayout layout);

}  // namespace cskd::data
