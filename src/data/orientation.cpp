#include "data/orientation.h"

#include <algorithm>
#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include <zlib.h>

namespace cskd::data {
namespace {

constexpr std::uint32_t kOrientationTag = 0x0112;
constexpr std::uint32_t kShort = 3;  // types of TIFF 6.0, section 2
constexpr std::uint32_t kLong = 4;

// A picture's metadata is looked at, at most this much of it: a chunk of a few bytes can hold gigabytes of text.
constexpr std::size_t kMostText = std::size_t{1} << 20U;

using Bytes = std::span<const std::byte>;

std::string_view text_of(Bytes bytes) { return {reinterpret_cast<const char*>(bytes.data()), bytes.size()}; }
Bytes bytes_of(std::string_view text) { return std::as_bytes(std::span(text.data(), text.size())); }

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

// What precedes the next zero byte; `text` begins behind it afterwards. Nothing without one.
std::optional<std::string_view> take_word(std::string_view& text) {
  const std::size_t end = text.find('\0');
  if (end == std::string_view::npos) return std::nullopt;
  const std::string_view word = text.substr(0, end);
  text.remove_prefix(end + 1);
  return word;
}

// Unpacked; empty where that fails, or it is too much.
std::string inflated(std::string_view packed) {
  std::string text(std::min(kMostText, 64 * packed.size() + 1024), '\0');
  uLongf size = text.size();
  const int status = ::uncompress(reinterpret_cast<Bytef*>(text.data()), &size,
                                  reinterpret_cast<const Bytef*>(packed.data()), packed.size());
  text.resize(status == Z_OK ? size : 0);
  return text;
}

// "\nexif\n    1234\n45786966...": a name, a size, and the bytes in hexadecimal digits.
int raw_profile_orientation(std::string_view text) {
  for (int line = 0; line < 3; ++line) text.remove_prefix(std::min(text.size(), text.find('\n') + 1));
  std::string bytes;
  int high = -1;
  for (const char digit : text) {
    const std::size_t value = std::string_view("0123456789abcdef").find(static_cast<char>(digit | 0x20));
    if (value == std::string_view::npos) continue;
    if (high < 0) {
      high = static_cast<int>(value);
    } else {
      bytes += static_cast<char>(16 * std::exchange(high, -1) + static_cast<int>(value));
    }
  }
  if (bytes.starts_with(kExifName)) bytes.erase(0, kExifName.size());
  return exif_orientation(bytes_of(bytes));
}

// Of the three kinds of text chunks, their key and text.
std::pair<std::string_view, std::string> read_text(std::string_view type, std::string_view content) {
  const std::optional<std::string_view> key = take_word(content);
  if (!key) return {};
  if (type == "tEXt") return {*key, std::string(content.substr(0, kMostText))};
  if (type == "zTXt") return {*key, content.empty() ? "" : inflated(content.substr(1))};
  if (content.size() < 2) return {};
  const bool is_packed = content[0] == 1;
  content.remove_prefix(2);
  if (!take_word(content) || !take_word(content)) return {};  // language, translated key
  return {*key, is_packed ? inflated(content) : std::string(content.substr(0, kMostText))};
}

std::optional<std::size_t> number_at(Bytes bytes, std::size_t offset, bool little_endian) {
  const auto number = TiffReader(bytes, little_endian).number(offset, 4);
  return number ? std::optional<std::size_t>(*number) : std::nullopt;
}

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

int xmp_orientation(std::string_view packet) {
  constexpr std::string_view kName = "tiff:Orientation";
  for (std::size_t at = packet.find(kName); at != std::string_view::npos; at = packet.find(kName, at)) {
    at += kName.size();
    const std::string_view rest = packet.substr(at);
    std::size_t value = 1;
    if (rest.starts_with("=\"") || rest.starts_with("='")) {
      value = 2;
    } else if (!rest.starts_with('>')) {
      continue;
    }
    if (value < rest.size() && rest[value] >= '1' && rest[value] <= '8') return rest[value] - '0';
  }
  return 0;
}

int png_orientation(Bytes bytes) {
  constexpr std::size_t kFirst = 8;
  int of_text = 0;
  int of_xmp = 0;
  for (std::size_t offset = kFirst; bytes.size() - offset >= 12;) {
    const std::size_t size = number_at(bytes, offset, false).value_or(0);
    if (size > bytes.size() - offset - 12) break;
    const std::string_view type = text_of(bytes.subspan(offset + 4, 4));
    const Bytes content = bytes.subspan(offset + 8, size);
    if (type == "eXIf") {
      if (const int found = exif_orientation(content)) return found;
    } else if (type == "tEXt" || type == "zTXt" || type == "iTXt") {
      constexpr std::string_view kProfile = "Raw profile type exif";
      constexpr std::string_view kXmp = "XML:com.adobe.xmp";
      // Other texts are not unpacked.
      if (const std::string_view all = text_of(content); all.starts_with(kProfile) || all.starts_with(kXmp)) {
        const auto& [key, text] = read_text(type, all);
        if (key == kProfile && of_text == 0) of_text = raw_profile_orientation(text);
        if (key == kXmp && of_xmp == 0) of_xmp = xmp_orientation(text);
      }
    }
    offset += size + 12;
  }
  return of_text != 0 ? of_text : of_xmp;
}

int webp_orientation(Bytes bytes) {
  constexpr std::size_t kFirst = 12;
  int of_xmp = 0;
  for (std::size_t offset = kFirst; offset <= bytes.size() && bytes.size() - offset >= 8;) {
    const std::size_t size = number_at(bytes, offset + 4, true).value_or(0);
    if (size > bytes.size() - offset - 8) break;
    const std::string_view type = text_of(bytes.subspan(offset, 4));
    Bytes content = bytes.subspan(offset + 8, size);
    if (type == "EXIF") {
      if (text_of(content).starts_with(kExifName)) content = content.subspan(kExifName.size());
      if (const int found = exif_orientation(content)) return found;
    } else if (type == "XMP " && of_xmp == 0) {
      of_xmp = xmp_orientation(text_of(content));
    }
    offset += 8 + size + size % 2;
  }
  return of_xmp;
}

}  // namespace cskd::data
