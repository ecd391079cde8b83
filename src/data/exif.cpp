#include "data/exif.h"

#include <cstdint>
#include <optional>

namespace cskd::data {
namespace {

constexpr std::uint32_t kOrientationTag = 0x0112;
constexpr std::uint32_t kShort = 3;  // types of TIFF 6.0, section 2
constexpr std::uint32_t kLong = 4;

class TiffReader {
 public:
  TiffReader(std::span<const std::byte> bytes, bool little_endian) : bytes_(bytes), little_endian_(little_endian) {}

  // Nothing where the structure ends before.
  std::optional<std::uint32_t> number(std::size_t offset, std::size_t count) const {
    if (offset > bytes_.size() || bytes_.size() - offset < count) return std::nullopt;
    std::uint32_t value = 0;
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t place = little_endian_ ? count - 1 - i : i;
      value = value << 8U | std::to_integer<std::uint32_t>(bytes_[offset + place]);
    }
    return value;
  }

 private:
  std::span<const std::byte> bytes_;
  bool little_endian_;
};

}  // namespace

int exif_orientation(std::span<const std::byte> tiff) {
  if (tiff.size() < 8) return 0;
  const bool little_endian = tiff[0] == std::byte{'I'} && tiff[1] == std::byte{'I'};
  if (!little_endian && !(tiff[0] == std::byte{'M'} && tiff[1] == std::byte{'M'})) return 0;
  const TiffReader reader(tiff, little_endian);
  if (reader.number(2, 2) != 42U) return 0;
  const std::size_t directory = reader.number(4, 4).value();
  const std::size_t entries = reader.number(directory, 2).value_or(0);
  for (std::size_t i = 0; i < entries; ++i) {
    const std::size_t entry = directory + 2 + 12 * i;
    const std::optional<std::uint32_t> tag = reader.number(entry, 2);
    if (!tag) return 0;
    if (*tag != kOrientationTag) continue;
    const std::uint32_t type = reader.number(entry + 2, 2).value_or(0);
    if ((type != kShort && type != kLong) || reader.number(entry + 4, 4) != 1U) return 0;
    const std::uint32_t value = reader.number(entry + 8, type == kShort ? 2 : 4).value_or(0);
    return value <= 8 ? static_cast<int>(value) : 0;
  }
  return 0;
}

}  // namespace cskd::data
