// Ratings beside photos: XMP sidecars, as photo programs read and write them.
//
// A sidecar of IMG.CR2 is IMG.CR2.xmp (darktable, digiKam) or IMG.xmp (Lightroom). What is in one stays there.
// xmp:Rating is the rating, and cskd:Rating beside it says that cskd gave it: a rating that differs from that, or
// stands alone, is a person's.
#pragma once

#include <filesystem>
#include <optional>
#include <string>

namespace cskd::scoring {

enum class SidecarName { kWhole, kStem };  // IMG.CR2.xmp, IMG.xmp

// The sidecar that the photo has, of whatever name; otherwise the one that it would get.
std::filesystem::path sidecar_of(const std::filesystem::path& photo, SidecarName name);

struct Rating {
  int stars = 0;
  bool is_ours = false;
};

// Of a sidecar; nothing where it has none, or does not exist. Throws DataError for a file that is no XMP, Error when it
// cannot be read.
std::optional<Rating> read_rating(const std::filesystem::path& sidecar);

// Writes the rating, and the score, into the sidecar, which may be new; atomically, everything else in it is kept.
// Throws as read_rating(), and Error when it cannot be written: a file without write permission is not replaced.
void write_rating(const std::filesystem::path& sidecar, int stars, double score);

}  // namespace cskd::scoring
