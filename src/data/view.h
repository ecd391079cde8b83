// An augmentation as explicit parameters: drawn from counter-based randomness here, applied elsewhere, so that a stored
// view replays to the same pixels.
#pragma once

#include <cstdint>
#include <vector>

#include "data/image.h"
#include "runtime/philox.h"

namespace cskd::data {

struct View {
  Box box;            // source pixels after orientation
  bool flip = false;  // left to right, after the crop
  // Saved as JPEG of this quality once more after resizing (data/recompress.h); 0: not.
  int jpeg_quality = 0;
  // A rectangle of the result that is painted grey, as fractions of its side; none when its width is 0.
  float erase_x = 0;
  float erase_y = 0;
  float erase_width = 0;
  float erase_height = 0;
};

// The whole picture; whatever its shape, it is squeezed into the square.
View whole_view(int width, int height, bool flip);

// Stage I: random resized crop, area share in [min_area, 1], ratio 3/4..4/3 (log-uniform), mirrored half of the time.
// Szegedy et al., arXiv 1409.4842, section 6, as in Feature Distillation, arXiv 2205.14141. Ten tries, then the largest
// centre crop whose ratio fits.
View random_resized_crop(runtime::Philox& random, int width, int height, double min_area);

// Stage II, weak: the whole picture, mirrored half of the time. METHOD: nothing that changes how good a picture looks.
View weak_view(runtime::Philox& random, int width, int height);

// Stage II, strong: mirrored half of the time, a crop of 90 % or more of the area whose sides shrink by factors within
// 5 % of each other; in half of the cases compressed as JPEG of quality 70 to 95, and in half of the cases one grey
// rectangle of 1 to 4 % of the area.
View strong_view(runtime::Philox& random, int width, int height);

// Views of a picture that a model's predictions are averaged over.
enum class TestViews : std::uint8_t {
  kWhole,     // the whole picture, squeezed into the square
  kMirrored,  // that and its mirror image
  // The largest square in the middle: CLIP's test-time preprocessing, but for the rounding of the shorter side and what
  // a filter sees beyond the crop.
  kCentre,
  // Ten: squares of 7/8 of the shorter side (224 of 256 pixels) in the four corners and in the middle, and their mirror
  // images. Krizhevsky, Sutskever and Hinton, "ImageNet Classification with Deep Convolutional Neural Networks", 2012,
  // section 4.1.
  kTenCrop,
};

// As many as count_of() says, the same number for every picture.
std::vector<View> test_views(TestViews kind, int width, int height);
std::uint64_t count_of(TestViews kind);

}  // namespace cskd::data
