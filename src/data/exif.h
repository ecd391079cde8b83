// The one thing that cskd reads of Exif: how to turn the picture upright.
#pragma once

#include <cstddef>
#include <span>

namespace cskd::data {

// Value of tag 0x0112 in the first directory of a TIFF structure (EXIF 2.3, section 4.6.4), 1..8; 0 where there is none
// or the structure is damaged: a camera's bad metadata is no reason to refuse its picture. Reads no byte outside
// `tiff`.
int exif_orientation(std::span<const std::byte> tiff);

}  // namespace cskd::data
