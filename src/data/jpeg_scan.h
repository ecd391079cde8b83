// The means of all blocks of a JPEG's scan.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <vector>

#include "data/jpeg_layout.h"

namespace cskd::data {

// Of one component: brightness or a colour.
struct MeanPlane {
  int width = 0;  // blocks, with those that fill up MCUs
  int height = 0;
  std::vector<std::uint8_t> means;  // [height, width]
};

// Of the components, Note [Means of blocks]. `rows` of the first component's blocks are enough; where colour is halved,
// those of the other two have one more. None where coded data is damaged, ends early or goes on behind its end.
std::optional<std::array<MeanPlane, 3>> read_mean_planes(const JpegLayout& layout, int rows);

}  // namespace cskd::data
