// A description of what a picture looks like, in 200 bytes: two pictures that differ in compression or size alone are
// found by them.
#pragma once

#include <cstdint>

#include "data/image.h"
#include "data/reduce.h"
#include "shards/sample.h"

namespace cskd::data {

// Bit i says whether the i-th of the 8 x 8 lowest frequencies of the DCT-II of the 32 x 32 grey picture (means of whole
// squares of pixels as long as 96 a side remain, then bilinear resize; ITU-R 601 luma, rows first) lies above their
// median; bit 0 (the mean brightness) is left out of the median.
// pHash, Zauner, "Implementation and Benchmarking of Perceptual Image Hash Functions", 2010.
std::uint64_t perceptual_hash(const Image& image);

// What near duplicates have in common.
struct Appearance {
  std::uint64_t hash = 0;       // perceptual_hash()
  shards::Thumbnail thumbnail;  // means of 4 x 4 pixels of the same 32 x 32 picture, in colour
};
Appearance appearance_of(const Image& image);

// The appearance of a picture whose rows come from the top, some at a time.
class RowAppearance {
 public:
  RowAppearance(int width, int height);

  // Rows that are added at a time, but for the last ones.
  int strip() const noexcept { return strip_; }
  // The next rows, [count, width, 3]. REQUIRES: count is strip(), or what is left of the picture
  void add(const std::uint8_t* rows, int count);
  // appearance_of() the whole picture. REQUIRES: all rows were added
  Appearance appearance() const { return appearance_of(reduced_); }

 private:
  int factor_;
  int strip_;
  RowReducer reducer_;
  Image reduced_;
  int rows_ = 0;  // of reduced_, so far
};

// Note [Near duplicates]
// The hash alone takes pictures of one layout (a horizon, a bright spot in the middle) for equal. So thumbnails must
// agree as well. On the demo corpus, whose scenes are of few layouts, copies that were compressed more, scaled or
// converted differ by at most 0.6 levels on average, while different pictures whose hashes are within 6 bits differ by
// 10.6 and more, within 12 bits by 6.2 and more.
constexpr int kMostThumbnailDifference = 4;  // levels of 255, mean over pixels and channels

// Whether the thumbnails of two pictures agree, to so many levels.
bool are_alike(const shards::Thumbnail& a, const shards::Thumbnail& b, int most_difference = kMostThumbnailDifference);

}  // namespace cskd::data
