#include "data/render_view.h"

#include <algorithm>
#include <cmath>

#include "data/decode.h"
#include "data/jpeg_decoder.h"
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

// The box as it is resized: for kExact Pillow's crop comes first, so that nothing around it is seen.
ReducedBox box_of(const ImageHeader& header, const View& view, int side, ResizeMode mode) {
  constexpr int kNeverReduced = kMostPixels;
  return reduced_box(header, view.box, mode == ResizeMode::kExact ? kNeverReduced : side);
}

void resize_box(std::span<const std::byte> bytes, const ImageHeader& header, const View& view, int side,
                ResizeMode mode, std::span<std::uint8_t> target) {
  const ReducedBox box = box_of(header, view, side, mode);
  ResizePlan plan{.width = box.pixels.width,
                  .height = box.pixels.height,
                  .box = box.inside,
                  .target_width = side,
                  .target_height = side,
                  .filter = kViewFilter,
                  .mode = mode,
                  .mirrored = view.flip};
  if (header.format == ImageFormat::kJpeg && header.orientation == 1) {
    StripResizer resizer(plan, target);
    const Box& source = resizer.source();
    const Box pixels{box.pixels.x + source.x, box.pixels.y + source.y, source.width, source.height};
    decode_jpeg_rows(
        bytes, header, pixels, box.reduction, box.colour, PixelLayout::kRgbx, StripResizer::kStrip,
        [&](int, int count, const std::uint8_t* rows, std::size_t pitch) { resizer.take(count, rows, pitch); });
    return;
  }
  const Image image = decode_reduced(bytes, header, box, plan.box);
  plan.width = image.width;
  plan.height = image.height;
  resize(image, plan, target);
}

}  // namespace

void render_view(std::span<const std::byte> bytes, const View& view, int side, ResizeMode mode,
                 std::span<std::uint8_t> target) {
  render_view(bytes, read_image_header(bytes), view, side, mode, target);
}

void render_view(std::span<const std::byte> bytes, const ImageHeader& header, const View& view, int side,
                 ResizeMode mode, std::span<std::uint8_t> target) {
  resize_box(bytes, header, view, side, mode, target);
  if (view.jpeg_quality == 0 && view.erase_width == 0) return;
  Image image{side, side, {target.begin(), target.end()}};
  if (view.jpeg_quality > 0) recompress(image, view.jpeg_quality);
  if (view.erase_width > 0) erase(image, view);
  std::copy(image.rgb.begin(), image.rgb.end(), target.begin());
}

}  // namespace cskd::data
