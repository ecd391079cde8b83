// An 8-bit RGB picture in memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace cskd::demo {

struct Picture {
  int width = 0;
  int height = 0;
  std::vector<std::uint8_t> rgb;  // [height, width, 3]

  const std::uint8_t* row(int y) const {
    return rgb.data() + static_cast<std::size_t>(y) * static_cast<std::size_t>(width) * 3;
  }
};

}  // namespace cskd::demo
