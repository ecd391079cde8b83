// The orientation of a picture: the one thing that cskd reads of the metadata of all formats.
//
// Note [Orientation]
// A picture's Exif counts, in JPEG's APP1 segment, PNG's eXIf chunk or WebP's EXIF chunk; where it says nothing, or PNG
// holds it as ImageMagick's text "Raw profile type exif" only, that; and then tiff:Orientation of its XMP. So do
// Pillow's getexif() and exif_transpose(), and with them most viewers. A turned copy of a test picture is found by its
// pixels only if it is turned back first.
#pragma once

#include <cstddef>
#include <span>
#include <string_view>

namespace cskd::data {

// Of the segment of a JPEG that holds EXIF.
inline constexpr std::string_view kExifName("Exif\0\0", 6);

// Value of tag 0x0112 in the first directory of a TIFF structure (EXIF 2.3, section 4.6.4), 1..8; 0 where there is none
// or the structure is damaged: a camera's bad metadata is no reason to refuse its picture. Reads no byte outside
// `tiff`.
int exif_orientation(std::span<const std::byte> tiff);

// Of an XMP packet (Adobe XMP specification, part 2, section 3.1): an attribute or element tiff:Orientation. 0 as
// above.
int xmp_orientation(std::string_view packet);

// Of all chunks of a PNG (PNG 1.2, sections 3.2 and 4.2.3, and its extension eXIf), and of a WebP's (WebP container,
// "Metadata"). `bytes`: the whole file, whose first bytes are right. 0 as above.
int png_orientation(std::span<const std::byte> bytes);
int webp_orientation(std::span<const std::byte> bytes);

}  // namespace cskd::data
