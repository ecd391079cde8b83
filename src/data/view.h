// An augmentation as explicit parameters: drawn from counter-based randomness here, applied elsewhere, so that a stored
// view replays to the same pixels.
#pragma once

#include <cstdint>

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
// 5 % of each other; in half of the cases pressed as JPEG of quality 70 to 95, and in half of the cases one grey
// rectangle of 1 to 4 % of the area.
View strong_view(runtime::Philox& random, int width, int height);

}  // namespace cskd::data
