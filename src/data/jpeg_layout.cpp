#include "data/jpeg_layout.h"

#include <algorithm>
#include <cstring>
#include <string_view>

namespace cskd::data {
namespace {

// std::span<const std::uint8_t> one after the other; reading past the end fails once and for all.
class SegmentReader {
 public:
  explicit SegmentReader(std::span<const std::uint8_t> bytes) : bytes_(bytes) {}

  bool is_good() const { return is_good_; }
  std::size_t left() const { return is_good_ ? bytes_.size() : 0; }
  std::span<const std::uint8_t> rest() const { return bytes_; }
  int byte() { return take(1).empty() ? 0 : last_[0]; }
  int two_bytes() { return take(2).empty() ? 0 : 256 * last_[0] + last_[1]; }
  std::span<const std::uint8_t> take(std::size_t count) {
    if (count > bytes_.size()) is_good_ = false;
    last_ = is_good_ ? bytes_.first(count) : std::span<const std::uint8_t>();
    if (is_good_) bytes_ = bytes_.subspan(count);
    return last_;
  }

 private:
  std::span<const std::uint8_t> bytes_;
  std::span<const std::uint8_t> last_;
  bool is_good_ = true;
};

// ITU-T T.81, table B.1.
enum Marker : std::uint8_t {
  kBaseline = 0xC0,
  kExtended = 0xC1,
  kHuffmanTables = 0xC4,
  kLastFrame = 0xCF,
  kStart = 0xD8,
  kScan = 0xDA,
  kQuantisation = 0xDB,
  kRestartInterval = 0xDD,
  kJfif = 0xE0,
  kAdobe = 0xEE,
};

class LayoutReader {
 public:
  // Whether the file is of this kind; layout() is what was found.
  bool read(std::span<const std::uint8_t> bytes) {
    SegmentReader file(bytes);
    if (file.byte() != 0xFF || file.byte() != kStart) return false;
    while (file.is_good()) {
      if (file.byte() != 0xFF) return false;
      const int marker = file.byte();
      const int length = file.two_bytes();
      if (length < 2) return false;
      SegmentReader segment(file.take(static_cast<std::size_t>(length) - 2));
      if (!file.is_good() || !read_segment(marker, segment)) return false;
      if (marker != kScan) continue;
      layout_.coded = file.rest();
      return true;
    }
    return false;
  }
  const JpegLayout& layout() const { return layout_; }

 private:
  struct Frame {
    int id = 0;
    int quantisation = 0;
  };

  bool read_segment(int marker, SegmentReader segment) {
    switch (marker) {
      case kBaseline:
      case kExtended:
        return read_frame(segment);
      case kHuffmanTables:
        return read_huffman(segment);
      case kScan:
        return read_scan(segment);
      case kQuantisation:
        return read_quantisation(segment);
      case kRestartInterval:
        layout_.restart_interval = segment.two_bytes();
        return segment.is_good() && segment.left() == 0;
      case kJfif:
        is_jfif_ = is_jfif_ || (segment.left() >= 14 && begins(segment, std::string_view("JFIF\0", 5)));
        return true;
      case kAdobe:
        if (segment.left() >= 12 && begins(segment, "Adobe")) adobe_transform_ = segment.rest()[11];
        return true;
      default:
        // Others are comments and the data of applications, from 0xE0 on; frames of other kinds lie before.
        return marker >= kJfif && marker <= 0xFE;
    }
  }

  static bool begins(const SegmentReader& segment, std::string_view text) {
    return std::memcmp(segment.rest().data(), text.data(), text.size()) == 0;
  }

  bool read_frame(SegmentReader& segment) {
    if (layout_.count != 0 || segment.byte() != 8) return false;
    layout_.height = segment.two_bytes();
    layout_.width = segment.two_bytes();
    layout_.count = segment.byte();
    if (layout_.width == 0 || layout_.height == 0 || (layout_.count != 1 && layout_.count != 3)) return false;
    for (int i = 0; i < layout_.count; ++i) {
      JpegLayout::Component& component = component_of(i);
      frame_[static_cast<std::size_t>(i)].id = segment.byte();
      const int sampling = segment.byte();
      component.across = sampling / 16;
      component.down = sampling % 16;
      const int most = i == 0 ? 2 : 1;
      if (component.across < 1 || component.across > most || component.down < 1 || component.down > most) return false;
      frame_[static_cast<std::size_t>(i)].quantisation = segment.byte();
      if (frame_[static_cast<std::size_t>(i)].quantisation >= 4) return false;
    }
    // A scan of one component goes block by block.
    if (layout_.count == 1) layout_.components[0].across = layout_.components[0].down = 1;
    return segment.is_good() && segment.left() == 0;
  }

  bool read_huffman(SegmentReader& segment) {
    while (segment.left() > 0) {
      const int what = segment.byte();
      const std::span<const std::uint8_t> counts = segment.take(16);
      if (counts.empty() || what / 16 > 1 || what % 16 >= 4) return false;
      JpegHuffmanCodes codes;
      std::ranges::copy(counts, codes.counts.begin());
      unsigned total = 0;
      unsigned used = 0;  // of 2^16 codes of 16 bits; the last one is never used
      for (unsigned i = 0; i < 16; ++i) {
        total += counts[i];
        used += counts[i] << (15 - i);
      }
      if (total > 256 || used > 0xFFFF) return false;
      const std::span<const std::uint8_t> symbols = segment.take(total);
      if (!segment.is_good()) return false;
      std::ranges::copy(symbols, codes.symbols.begin());
      const bool is_dc = what / 16 == 0;
      if (is_dc && std::ranges::any_of(symbols, [](std::uint8_t bits) { return bits > 15; })) return false;
      auto& tables = is_dc ? dc_ : ac_;
      tables[static_cast<std::size_t>(what % 16)] = codes;
    }
    return true;
  }

  bool read_quantisation(SegmentReader& segment) {
    while (segment.left() > 0) {
      const int what = segment.byte();
      if (what / 16 > 1 || what % 16 >= 4) return false;
      const bool has_two_bytes = what / 16 == 1;
      dc_steps_[static_cast<std::size_t>(what % 16)] = has_two_bytes ? segment.two_bytes() : segment.byte();
      segment.take(has_two_bytes ? 126 : 63);
    }
    return segment.is_good();
  }

  bool read_scan(SegmentReader& segment) {
    if (layout_.count == 0 || segment.byte() != layout_.count) return false;
    for (int i = 0; i < layout_.count; ++i) {
      const Frame& frame = frame_[static_cast<std::size_t>(i)];
      if (segment.byte() != frame.id) return false;
      const int tables = segment.byte();
      if (tables / 16 >= 4 || tables % 16 >= 4) return false;
      const auto& dc = dc_[static_cast<std::size_t>(tables / 16)];
      const auto& ac = ac_[static_cast<std::size_t>(tables % 16)];
      const auto& step = dc_steps_[static_cast<std::size_t>(frame.quantisation)];
      if (!dc || !ac || !step) return false;
      JpegLayout::Component& component = component_of(i);
      component.dc = *dc;
      component.ac = *ac;
      component.dc_step = *step;
    }
    // All coefficients, at once.
    const bool is_sequential = segment.byte() == 0 && segment.byte() == 63 && segment.byte() == 0;
    return is_sequential && segment.is_good() && segment.left() == 0 && has_known_colours();
  }

  // As libjpeg guesses them (jdapimin.c): JFIF is YCbCr, Adobe says what it is, others go by their components' names.
  bool has_known_colours() const {
    if (layout_.count == 1 || is_jfif_) return true;
    if (adobe_transform_) return *adobe_transform_ == 1;
    return frame_[0].id == 1 && frame_[1].id == 2 && frame_[2].id == 3;
  }

  JpegLayout::Component& component_of(int i) { return layout_.components[static_cast<std::size_t>(i)]; }

  JpegLayout layout_;
  std::array<Frame, 3> frame_;
  std::array<std::optional<JpegHuffmanCodes>, 4> dc_;
  std::array<std::optional<JpegHuffmanCodes>, 4> ac_;
  std::array<std::optional<int>, 4> dc_steps_;
  bool is_jfif_ = false;
  std::optional<int> adobe_transform_;
};

}  // namespace

std::optional<JpegLayout> jpeg_layout(std::span<const std::byte> bytes) {
  LayoutReader reader;
  if (!reader.read({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()})) return std::nullopt;
  return reader.layout();
}

}  // namespace cskd::data
