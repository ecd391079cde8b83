// The effect on pixels of saving a picture as JPEG once more.
#pragma once

#include "data/image.h"

namespace cskd::data {

// Compresses `image` as baseline JPEG (4:2:0, quality 1 to 100 on libjpeg's scale) and decodes it again, in place: the
// pixels that Pillow gives for Image.save(quality=quality) and Image.open. Thread-safe.
void recompress(Image& image, int quality);

}  // namespace cskd::data
