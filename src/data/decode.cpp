#include "data/decode.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include <fmt/format.h>

#include "data/jpeg_decoder.h"
#include "data/png_decoder.h"
#include "data/webp_decoder.h"
#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::data {
namespace {

// Where the stored picture begins and which way it runs, seen from the upright one: the table of EXIF 2.3, tag 0x0112.
struct Turn {
  bool transposed;  // an upright row is a stored column
  bool from_right;  // upright x counts from the other end
  bool from_below;  // upright y does
};

Turn turn_of(int orientation) {
  constexpr Turn kTurns[] = {{false, false, false}, {false, true, false}, {false, true, true}, {false, false, true},
                             {true, false, false},  {true, true, false},  {true, true, true},  {true, false, true}};
  CSKD_CHECK(orientation >= 1 && orientation <= 8, "orientation {}", orientation);
  return kTurns[orientation - 1];
}

Box stored_box(const ImageHeader& header, const Box& upright) {
  const Turn turn = turn_of(header.orientation);
  Box box = upright;
  if (turn.from_right) box.x = header.width() - upright.x - upright.width;
  if (turn.from_below) box.y = header.height() - upright.y - upright.height;
  if (turn.transposed) box = {box.y, box.x, box.height, box.width};
  return box;
}

// From a stored picture of width x height to the upright one.
Rectangle upright_rectangle(const Rectangle& stored, double width, double height, int orientation) {
  const Turn turn = turn_of(orientation);
  Rectangle upright = stored;
  if (turn.transposed) {
    upright = {stored.y, stored.x, stored.height, stored.width};
    std::swap(width, height);
  }
  if (turn.from_right) upright.x = width - upright.x - upright.width;
  if (turn.from_below) upright.y = height - upright.y - upright.height;
  return upright;
}

Image cut(Image whole, const Box& box) {
  if (box == Box{0, 0, whole.width, whole.height}) return whole;
  const std::size_t row_bytes = std::size_t{3} * static_cast<std::size_t>(box.width);
  Image part{box.width, box.height, std::vector<std::uint8_t>(row_bytes * static_cast<std::size_t>(box.height))};
  for (int y = 0; y < box.height; ++y) {
    std::memcpy(part.row(y), whole.row(box.y + y) + std::ptrdiff_t{3} * box.x, row_bytes);
  }
  return part;
}

Image decode_stored(std::span<const std::byte> bytes, const ImageHeader& header, const Box& box) {
  switch (header.format) {
    case ImageFormat::kJpeg:
      return decode_jpeg(bytes, header, box);
    case ImageFormat::kPng:
      return cut(decode_png(bytes, header), box);
    case ImageFormat::kWebp:
      return cut(decode_webp(bytes, header), box);
  }
  CSKD_CHECK(false, "image format {}", static_cast<int>(header.format));
  return {};
}

void check_inside(const Box& box, const ImageHeader& header) {
  if (box.x >= 0 && box.y >= 0 && box.width >= 1 && box.height >= 1 && box.width <= header.width() - box.x &&
      box.height <= header.height() - box.y)
    return;
  throw runtime::DataError(
      fmt::format("{} x {} pixels at {}, {} of a picture of {} x {}: another cskd packed it, run "
                  "'cskd shard' again",
                  box.width, box.height, box.x, box.y, header.width(), header.height()));
}

}  // namespace

Image turn_upright(Image stored, int orientation) {
  const Turn turn = turn_of(orientation);
  if (orientation == 1) return stored;
  const int width = turn.transposed ? stored.height : stored.width;
  const int height = turn.transposed ? stored.width : stored.height;
  Image upright{width, height, std::vector<std::uint8_t>(stored.rgb.size())};
  const std::ptrdiff_t stored_row = std::ptrdiff_t{3} * stored.width;
  const std::ptrdiff_t along_x = (turn.transposed ? stored_row : 3) * (turn.from_right ? -1 : 1);
  const std::ptrdiff_t along_y = (turn.transposed ? 3 : stored_row) * (turn.from_below ? -1 : 1);
  const std::uint8_t* origin = stored.rgb.data() + (turn.from_right ? -along_x * (width - 1) : 0) +
                               (turn.from_below ? -along_y * (height - 1) : 0);
  // In squares, because a transposed row visits one cache line for each of its pixels.
  constexpr int kSide = 32;
  for (int top = 0; top < height; top += kSide) {
    for (int left = 0; left < width; left += kSide) {
      for (int y = top; y < std::min(top + kSide, height); ++y) {
        std::uint8_t* to = upright.row(y) + std::ptrdiff_t{3} * left;
        const std::uint8_t* from = origin + along_y * y + along_x * left;
        for (int x = left; x < std::min(left + kSide, width); ++x, to += 3, from += along_x) {
          to[0] = from[0];
          to[1] = from[1];
          to[2] = from[2];
        }
      }
    }
  }
  return upright;
}

Image decode(std::span<const std::byte> bytes) {
  const ImageHeader header = read_image_header(bytes);
  return decode_region(bytes, header, {0, 0, header.width(), header.height()});
}

Image decode_region(std::span<const std::byte> bytes, const ImageHeader& header, const Box& box) {
  check_inside(box, header);
  return turn_upright(decode_stored(bytes, header, stored_box(header, box)), header.orientation);
}

ReducedBox reduced_box(const ImageHeader& header, const Box& box, int side) {
  check_inside(box, header);
  int reduction = header.format == ImageFormat::kJpeg ? 8 : 1;
  while (reduction > 1 && std::min(box.width, box.height) < reduction * side) reduction /= 2;
  const Box stored = stored_box(header, box);
  const int left = stored.x / reduction;
  const int top = stored.y / reduction;
  const int right = (stored.x + stored.width + reduction - 1) / reduction;
  const int bottom = (stored.y + stored.height + reduction - 1) / reduction;
  const double scale = 1.0 / reduction;
  return {reduction,
          {left, top, right - left, bottom - top},
          {stored.x * scale - left, stored.y * scale - top, stored.width * scale, stored.height * scale},
          std::min(box.width, box.height) < 16 * side ? ColourDetail::kFull : ColourDetail::kHalf};
}

Image decode_reduced(std::span<const std::byte> bytes, const ImageHeader& header, const ReducedBox& box,
                     Rectangle& inside) {
  Image image = box.reduction == 1 ? decode_stored(bytes, header, box.pixels)
                                   : decode_jpeg(bytes, header, box.pixels, box.reduction, box.colour);
  inside = upright_rectangle(box.inside, image.width, image.height, header.orientation);
  return turn_upright(std::move(image), header.orientation);
}

}  // namespace cskd::data
