// A photo that was read, of any format that can be scored.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "data/colour.h"
#include "data/image.h"
#include "data/image_header.h"
#include "data/resize.h"
#include "scoring/photos.h"

namespace cskd::scoring {

class OpenedPhoto {
 public:
  // Reads it, and decodes what is not JPEG, PNG or WebP. `alpha`: what transparent pictures are laid over; without it
  // transparency is dropped, as Pillow's convert does. Throws Error, DataError with why it cannot be read.
  OpenedPhoto(const Photo& photo, const std::optional<data::Colour>& alpha);

  // The whole of it, squeezed into [side, side, 3].
  void render(int side, data::ResizeMode mode, std::span<std::uint8_t> target) const;
  // In its own shape, its longer side at most `side` pixels.
  data::Image shrunk(int side) const;

 private:
  std::vector<std::byte> bytes_;
  data::ImageHeader header_;
  std::optional<data::Image> image_;  // upright, where it was decoded already
};

}  // namespace cskd::scoring
