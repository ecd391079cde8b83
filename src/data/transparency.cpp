#include "data/transparency.h"

#include "data/decode.h"
#include "data/png_decoder.h"
#include "data/webp_decoder.h"

namespace cskd::data {
namespace {

constexpr std::uint8_t kOpaque = 255;

// Pillow's BLEND: a rounded division by 255.
std::uint8_t blended(std::uint8_t above, std::uint8_t below, std::uint8_t alpha) {
  const unsigned sum = 128U + above * unsigned{alpha} + below * unsigned{static_cast<std::uint8_t>(kOpaque - alpha)};
  return static_cast<std::uint8_t>(((sum >> 8U) + sum) >> 8U);
}

}  // namespace

std::vector<std::uint8_t> laid_over(std::span<const std::uint8_t> rgba, const Colour& colour) {
  std::vector<std::uint8_t> rgb;
  rgb.reserve(rgba.size() / 4 * 3);
  for (std::size_t pixel = 0; pixel < rgba.size(); pixel += 4) {
    for (std::size_t channel = 0; channel < 3; ++channel)
      rgb.push_back(blended(rgba[pixel + channel], colour[channel], rgba[pixel + 3]));
  }
  return rgb;
}

std::optional<Image> laid_over(std::span<const std::byte> bytes, const ImageHeader& header, const Colour& colour) {
  if (header.format == ImageFormat::kJpeg) return std::nullopt;
  const std::vector<std::uint8_t> rgba =
      header.format == ImageFormat::kPng ? decode_png_rgba(bytes, header) : decode_webp_rgba(bytes, header);
  bool is_opaque = true;
  for (std::size_t pixel = 0; pixel < rgba.size(); pixel += 4) is_opaque = is_opaque && rgba[pixel + 3] == kOpaque;
  if (is_opaque) return std::nullopt;
  return turn_upright({header.stored_width, header.stored_height, laid_over(rgba, colour)}, header.orientation);
}

}  // namespace cskd::data
