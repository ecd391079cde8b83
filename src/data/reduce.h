// A picture made smaller by a whole number, much faster than by resampling.
#pragma once

#include <cstdint>
#include <vector>

#include "data/image.h"

namespace cskd::data {

constexpr int kMostReduction = 16;  // 255 * 16 * 16 fits into 16 bits

// Reduces rows as they come.
class RowReducer {
 public:
  // REQUIRES: 1 <= factor <= kMostReduction
  RowReducer(int width, int factor);

  int width() const noexcept { return (width_ + factor_ - 1) / factor_; }  // of a reduced row
  // `count` rows [count, width of the picture, 3] to ceil(count / factor) reduced ones. REQUIRES: factor divides count,
  // except for the last rows of a picture
  void reduce(const std::uint8_t* rows, int count, std::uint8_t* to);

 private:
  int width_;
  int factor_;
  std::vector<std::uint16_t> columns_;
  std::vector<std::uint16_t> squares_;
};

// Rounded means of squares of `factor` pixels; those at the right and lower edge may be narrower. The same on every
// processor. REQUIRES: 1 <= factor <= kMostReduction
Image reduce(const Image& image, int factor);

}  // namespace cskd::data
