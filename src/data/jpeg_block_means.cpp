#include "data/jpeg_block_means.h"

#include <algorithm>

#include "data/jpeg_scan.h"

namespace cskd::data {
namespace {

// A row of colour at the resolution of brightness, four or 16 times as large: samples lie in the middle between two
// pixels, so that each pixel takes three parts of the nearer one and one of the other.
class ColourRow {
 public:
  ColourRow(const MeanPlane& plane, const JpegLayout::Component& brightness, int width, int rows)
      : plane_(plane), across_(brightness.across), down_(brightness.down) {
    used_width_ = (width + across_ - 1) / across_;
    used_height_ = std::min(plane.height, (rows + down_ - 1) / down_);
    sums_.resize(static_cast<std::size_t>(used_width_));
    row_.resize(static_cast<std::size_t>(used_width_) * static_cast<std::size_t>(across_));
  }

  const std::uint8_t* at(int y) {
    const int near = y / down_;
    const int far = down_ == 1 ? near : std::clamp(y % 2 == 0 ? near - 1 : near + 1, 0, used_height_ - 1);
    const std::uint8_t* const one = plane_.means.data() + static_cast<std::ptrdiff_t>(near) * plane_.width;
    const std::uint8_t* const other = plane_.means.data() + static_cast<std::ptrdiff_t>(far) * plane_.width;
    const std::size_t width = sums_.size();
    for (std::size_t x = 0; x < width; ++x) sums_[x] = 3 * one[x] + other[x];
    if (across_ == 1) {
      for (std::size_t x = 0; x < width; ++x) row_[x] = static_cast<std::uint8_t>((sums_[x] + 2) >> 2);
      return row_.data();
    }
    for (std::size_t x = 0; x < width; ++x) {
      const int left = sums_[x == 0 ? 0 : x - 1];
      const int right = sums_[x + 1 == width ? x : x + 1];
      row_[2 * x] = static_cast<std::uint8_t>((3 * sums_[x] + left + 8) >> 4);
      row_[2 * x + 1] = static_cast<std::uint8_t>((3 * sums_[x] + right + 8) >> 4);
    }
    return row_.data();
  }

 private:
  const MeanPlane& plane_;
  int across_;
  int down_;
  int used_width_;
  int used_height_;
  std::vector<int> sums_;
  std::vector<std::uint8_t> row_;
};

std::uint8_t to_byte(int value) { return static_cast<std::uint8_t>(std::clamp(value, 0, 255)); }

// ITU-T T.871, section 7, in 16 bits after the point, with the digits of libjpeg's factors.
void to_rgb(const std::uint8_t* y, const std::uint8_t* cb, const std::uint8_t* cr, int width, std::size_t channels,
            std::uint8_t* to) {
  constexpr int kRed = 91881;  // of 65536: 1.402, 0.71414, 0.34414, 1.772
  constexpr int kRedInGreen = 46802;
  constexpr int kBlueInGreen = 22554;
  constexpr int kBlue = 116130;
  constexpr int kHalf = 1 << 15;
  for (int x = 0; x < width; ++x, to += channels) {
    const int blue = cb[x] - 128;
    const int red = cr[x] - 128;
    to[0] = to_byte(y[x] + ((kRed * red + kHalf) >> 16));
    to[1] = to_byte(y[x] + ((kHalf - kBlueInGreen * blue - kRedInGreen * red) >> 16));
    to[2] = to_byte(y[x] + ((kBlue * blue + kHalf) >> 16));
  }
}

}  // namespace

std::optional<BlockMeans> decode_block_means(std::span<const std::byte> bytes, const ImageHeader& header, int rows,
                                             ColourDetail colour, PixelLayout layout) {
  const std::optional<JpegLayout> found = jpeg_layout(bytes);
  if (!found || (colour == ColourDetail::kFull && found->halves_colour())) return std::nullopt;
  if (found->width != header.stored_width || found->height != header.stored_height) return std::nullopt;
  BlockMeans means{(found->width + 7) / 8, (found->height + 7) / 8, layout, {}};
  rows = std::min(rows, means.height);
  const auto planes = read_mean_planes(*found, rows);
  if (!planes) return std::nullopt;
  const auto channels = static_cast<std::size_t>(layout);
  const std::size_t pitch = channels * static_cast<std::size_t>(means.width);
  means.pixels.resize(pitch * static_cast<std::size_t>(rows) + kReadBehind);
  const MeanPlane& brightness = planes->front();
  const std::vector<std::uint8_t> grey(static_cast<std::size_t>(means.width), 128);
  std::optional<ColourRow> blue;
  std::optional<ColourRow> red;
  if (found->count == 3) {
    blue.emplace((*planes)[1], found->components[0], means.width, means.height);
    red.emplace((*planes)[2], found->components[0], means.width, means.height);
  }
  for (int row = 0; row < rows; ++row) {
    to_rgb(brightness.means.data() + static_cast<std::ptrdiff_t>(row) * brightness.width,
           blue ? blue->at(row) : grey.data(), red ? red->at(row) : grey.data(), means.width, channels,
           means.pixels.data() + pitch * static_cast<std::size_t>(row));
  }
  return means;
}

}  // namespace cskd::data
