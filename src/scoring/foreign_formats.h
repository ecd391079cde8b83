// Formats of photos that the data path does not pack, through the libraries that know them. Hostile input is expected.
//
// HEIC and AVIF: libheif. JPEG XL: libjxl. Raw files of cameras: the JPEG that the camera put into them, by libraw;
// they are never developed, which would take seconds and be one of many possible pictures.
#pragma once

#include <cstddef>
#include <filesystem>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "data/colour.h"
#include "data/image.h"

namespace cskd::scoring {

enum class ForeignFormat { kHeif, kJpegXl, kRaw };

// By the first bytes; raw files, most of which begin as any TIFF does, by the name as well. Nothing for others.
std::optional<ForeignFormat> foreign_format(std::span<const std::byte> bytes, const std::filesystem::path& name);

// .heic .heif .hif .avif .jxl, and raw files: .arw .cr2 .cr3 .dng .nef .orf .pef .raf .rw2 .srw; any case.
bool has_foreign_extension(const std::filesystem::path& name);

// The picture upright, 8 bits a channel, transparency dropped or laid over `alpha`. Throws DataError with a short
// reason.
data::Image decode_heif(std::span<const std::byte> bytes, const std::optional<data::Colour>& alpha);
data::Image decode_jpeg_xl(std::span<const std::byte> bytes, const std::optional<data::Colour>& alpha);

// A JPEG inside a raw file, and how it is to be turned (EXIF 2.3, tag 0x0112). Of a file little more is read than the
// preview, a tenth of most. Throws DataError where there is none.
struct RawPreview {
  std::vector<std::byte> jpeg;
  int orientation = 1;
};
RawPreview raw_preview(const std::filesystem::path& file);
RawPreview raw_preview(std::span<const std::byte> bytes);

}  // namespace cskd::scoring
