// Decoded pictures.
#pragma once

#include <cstdint>
#include <vector>

namespace cskd::data {

// RGB, 8 bits a channel, rows from the top, upright: [height, width, 3].
struct Image {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb;

  const std::uint8_t* row(int y) const { return rgb.data() + std::size_t{3} * static_cast<std::size_t>(width) * y; }
  std::uint8_t* row(int y) { return rgb.data() + std::size_t{3} * static_cast<std::size_t>(width) * y; }
};

// A rectangle of source pixels after orientation.
struct Box {
  int x = 0;
  int y = 0;
  int width = 0;
  int height = 0;

  bool operator==(const Box&) const = default;
};

// The same in fractions of pixels.
struct Rectangle {
  double x = 0;
  double y = 0;
  double width = 0;
  double height = 0;
};

}  // namespace cskd::data
