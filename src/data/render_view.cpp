#include "data/render_view.h"

#include <algorithm>
#include <cmath>

#include "data/decode.h"
#include "data/recompress.h"
#include "runtime/check.h"

namespace cskd::data {
namespace {

constexpr std::uint8_t kGrey = 124;  // close to the mean of photos in every usual normalisation

void erase(Image& image, const View& view) {
  const auto pixel = [&image](float fraction) {
    return std::clamp(static_cast<int>(std::lround(fraction * static_cast<float>(image.width))), 0, image.width);
  };
  const int left = pixel(view.erase_x);
  const int right = pixel(view.erase_x + view.erase_width);
  for (int y = pixel(view.erase_y); y < pixel(view.erase_y + view.erase_height); ++y) {
    std::fill(image.row(y) + std::ptrdiff_t{3} * left, image.row(y) + std::ptrdiff_t{3} * right, kGrey);
  }
}

Image render_box(std::span<const std::byte> bytes, const Box& box, int side, ResizeMode mode) {
  const ImageHeader header = read_image_header(bytes);
  if (mode == ResizeMode::kExact) {
    const Image region = decode_region(bytes, header, box);
    return resize(region, {0, 0, region.width, region.height}, side, side, kViewFilter);
  }
  const ReducedRegion region = decode_region_reduced(bytes, header, box, side);
  return resize(region.image, region.box, side, side, kViewFilter, mode);
}

}  // namespace

void render_view(std::span<const std::byte> bytes, const View& view, int side, ResizeMode mode,
                 std::span<std::uint8_t> target) {
  Image image = render_box(bytes, view.box, side, mode);
  if (view.flip) flip_horizontally(image);
  if (view.jpeg_quality > 0) recompress(image, view.jpeg_quality);
  if (view.erase_width > 0) erase(image, view);
  CSKD_CHECK(target.size() == image.rgb.size(), "{} bytes for a view of {}", target.size(), image.rgb.size());
  std::copy(image.rgb.begin(), image.rgb.end(), target.begin());
}

}  // namespace cskd::data
