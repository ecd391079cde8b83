#include "data/thumbnail.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "data/decode.h"
#include "data/jpeg_encoder.h"
#include "data/resize.h"

namespace cskd::data {
namespace {

struct Size {
  int width = 0;
  int height = 0;
};

Size thumbnail_size(int width, int height, int side) {
  const double scale = std::min(1.0, static_cast<double>(side) / std::max(width, height));
  const auto scaled = [&](int length) { return std::max(1, static_cast<int>(std::lround(length * scale))); };
  return {scaled(width), scaled(height)};
}

// `inside`: the part of the picture that is shown.
Image resized(const Image& image, const Rectangle& inside, const Size& size) {
  Image small{.width = size.width, .height = size.height, .rgb = {}};
  small.rgb.resize(std::size_t{3} * static_cast<std::size_t>(small.width) * static_cast<std::size_t>(small.height));
  resize(image,
         {.width = image.width,
          .height = image.height,
          .box = inside,
          .target_width = small.width,
          .target_height = small.height,
          .mode = ResizeMode::kFast},
         small.rgb);
  return small;
}

}  // namespace

Image shrunk(std::span<const std::byte> bytes, const ImageHeader& header, int side) {
  const Size size = thumbnail_size(header.width(), header.height(), side);
  const ReducedBox box =
      reduced_box(header, {0, 0, header.width(), header.height()}, std::min(size.width, size.height));
  Rectangle inside;
  const Image image = decode_reduced(bytes, header, box, inside);
  return resized(image, inside, size);
}

Image shrunk(const Image& image, int side) {
  return resized(image, {0, 0, static_cast<double>(image.width), static_cast<double>(image.height)},
                 thumbnail_size(image.width, image.height, side));
}

std::string thumbnail(const Image& shrunk, int quality) {
  const std::vector<std::byte> jpeg = encode_jpeg(shrunk, quality);
  return {reinterpret_cast<const char*>(jpeg.data()), jpeg.size()};
}

}  // namespace cskd::data
