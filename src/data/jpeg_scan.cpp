#include "data/jpeg_scan.h"

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <span>
#include <utility>

namespace cskd::data {
namespace {

// The next bits of coded data, the first one on top. Behind its end, at a marker, come zeros.
class BitReader {
 public:
  explicit BitReader(std::span<const std::uint8_t> coded) : at_(coded.data()), end_(coded.data() + coded.size()) {}

  // At least 56 bits are there afterwards.
  void refill() {
    if (end_ - at_ >= 8) {
      std::uint64_t word = 0;
      std::memcpy(&word, at_, 8);
      // A byte of 255 is followed by one that is no data.
      constexpr std::uint64_t kOnes = 0x0101010101010101;
      const std::uint64_t inverse = ~word;
      if (((inverse - kOnes) & ~inverse & (kOnes << 7U)) == 0) {
        bits_ |= __builtin_bswap64(word) >> static_cast<unsigned>(count_);
        at_ += (63 - count_) >> 3;
        count_ |= 56;
        return;
      }
    }
    refill_bytewise();
  }

  std::uint32_t next(unsigned bits) const { return static_cast<std::uint32_t>(bits_ >> (64U - bits)); }  // 1 to 32
  int count() const { return count_; }
  void drop(int bits) {
    bits_ <<= static_cast<unsigned>(bits);
    count_ -= bits;
  }

  // Whether all data up to the next marker was used, but for the bits that fill its last byte, and this is the marker.
  // Goes on behind it.
  bool ends_at(std::uint8_t marker) {
    const int real = count_ - invented_;
    if (real < 0 || real > 7 || end_ - at_ < 2 || at_[0] != 0xFF || at_[1] != marker) return false;
    at_ += 2;
    bits_ = 0;
    count_ = invented_ = 0;
    return true;
  }

  bool is_past_the_end() const { return count_ < invented_; }

 private:
  void refill_bytewise() {
    while (count_ <= 56) {
      std::uint64_t byte = 0;
      if (at_ != end_ && *at_ != 0xFF) {
        byte = *at_++;
      } else if (end_ - at_ >= 2 && at_[1] == 0) {
        byte = 0xFF;
        at_ += 2;
      } else {
        invented_ += 8;
      }
      bits_ |= byte << static_cast<unsigned>(56 - count_);
      count_ += 8;
    }
  }

  const std::uint8_t* at_;
  const std::uint8_t* end_;
  std::uint64_t bits_ = 0;  // those from count_ on are part of what follows, or zeros
  int count_ = 0;
  int invented_ = 0;  // zeros behind the end
};

// One code after the other.
class CodeReader {
 public:
  struct Code {
    std::uint8_t length = 0;  // 0: no code begins so
    std::uint8_t symbol = 0;
  };

  explicit CodeReader(const JpegHuffmanCodes& codes) : symbols_(codes.symbols) {
    std::uint32_t code = 0;  // the next one, in 16 bits
    int index = 0;
    for (unsigned length = 1; length <= 16; ++length) {
      const unsigned count = codes.counts[length - 1];
      first_[length] = index - static_cast<int>(code >> (16U - length));
      code += count << (16U - length);
      ends_[length] = code;
      index += static_cast<int>(count);
    }
    for (std::uint32_t bits = 0; bits < short_.size(); ++bits) {
      const Code found = search(bits << (16U - kShort));
      if (found.length <= kShort) short_[bits] = found;
    }
  }

  // `bits`: the next 16.
  Code find(std::uint32_t bits) const {
    const Code found = short_[bits >> (16U - kShort)];
    return found.length != 0 ? found : search(bits);
  }

 private:
  static constexpr unsigned kShort = 9;

  Code search(std::uint32_t bits) const {
    for (unsigned length = 1; length <= 16; ++length) {
      if (bits >= ends_[length]) continue;
      const int index = first_[length] + static_cast<int>(bits >> (16U - length));
      return {static_cast<std::uint8_t>(length), symbols_[static_cast<std::size_t>(index)]};
    }
    return {};
  }

  std::array<std::uint8_t, 256> symbols_;
  std::array<std::uint32_t, 17> ends_{};  // of the codes of a length: the first of 16 bits that is none of them
  std::array<int, 17> first_{};           // index of a length's first symbol, less its first code
  std::array<Code, 1U << kShort> short_{};
};

constexpr int kEnd = 0;         // of a block: what is left of it is 0
constexpr int kSixteen = 0xF0;  // zeros
constexpr int kCoefficients = 64;

// Whole codes, with the bits that belong to them, in kBits bits. As small as the first cache.
class SkipTable {
 public:
  static constexpr unsigned kBits = 13;

  struct Step {
    std::uint16_t bits : 4 = 0;  // 0: not one whole code
    std::uint16_t ends_block : 1 = 0;
    std::uint16_t advance : 8 = 0;  // coefficients
  };

  explicit SkipTable(const JpegHuffmanCodes& codes) : codes_(codes), reader_(codes), steps_(1U << kBits) {
    for (std::uint32_t bits = 0; bits < steps_.size(); ++bits) steps_[bits] = step_of(bits);
  }

  const JpegHuffmanCodes& codes() const { return codes_; }
  const CodeReader& reader() const { return reader_; }
  Step next(const BitReader& bits) const { return steps_[bits.next(kBits)]; }

 private:
  Step step_of(std::uint32_t window) const {
    unsigned bits = 0;
    unsigned advance = 0;
    const auto step = [&](bool ends_block) {
      return Step{static_cast<std::uint16_t>(bits & 15U), static_cast<std::uint16_t>(ends_block ? 1 : 0),
                  static_cast<std::uint16_t>(advance & 255U)};
    };
    while (true) {
      const auto [length, symbol] = reader_.find((window << (16U - kBits) << bits) & 0xFFFFU);
      const unsigned size = symbol % 16U;
      if (length == 0 || bits + length + size > kBits) return step(false);
      if (symbol == kEnd) {
        bits += length;
        return step(true);
      }
      if (size == 0 && symbol != kSixteen) return step(false);  // no symbol of a sequential scan
      bits += length + size;
      advance += symbol / 16U + 1;
    }
  }

  JpegHuffmanCodes codes_;
  CodeReader reader_;
  std::vector<Step> steps_;
};

// The one that this thread made last for this component: most files of a folder have the same codes.
const SkipTable& skip_table(const JpegHuffmanCodes& codes, std::size_t component) {
  thread_local std::array<std::optional<SkipTable>, 3> made;
  std::optional<SkipTable>& table = made[component];
  if (!table || !(table->codes() == codes)) table.emplace(codes);
  return *table;
}

// Goes past the 63 other coefficients of a block.
bool skip_block(BitReader& bits, const SkipTable& table) {
  int coefficient = 1;
  while (coefficient < kCoefficients) {
    if (bits.count() < 32) bits.refill();
    const SkipTable::Step step = table.next(bits);
    // With one code more, the end would belong to the next block.
    const int reached = coefficient + step.advance + step.ends_block;
    if (step.bits != 0 && reached <= kCoefficients) {
      bits.drop(step.bits);
      if (step.ends_block != 0) return true;
      coefficient += step.advance;
      continue;
    }
    const auto [length, symbol] = table.reader().find(bits.next(16));
    if (length == 0) return false;
    bits.drop(length + symbol % 16);
    if (symbol == kEnd) return true;
    if (symbol % 16 == 0 && symbol != kSixteen) return false;
    coefficient += symbol / 16 + 1;
  }
  return coefficient == kCoefficients;
}

class ScanReader {
 public:
  ScanReader(const JpegLayout& layout, int rows)
      : layout_(layout), mcus_down_(mcus_for(layout, rows)), bits_(layout.coded) {
    for (int i = 0; i < layout.count; ++i) {
      const JpegLayout::Component& component = component_of(i);
      MeanPlane& plane = planes_[static_cast<std::size_t>(i)];
      plane.width = layout.mcus_across() * component.across;
      plane.height = mcus_down_ * component.down;
      plane.means.resize(static_cast<std::size_t>(plane.width) * static_cast<std::size_t>(plane.height));
    }
  }

  // Halved colour is interpolated from one row more.
  static int mcus_for(const JpegLayout& layout, int rows) {
    const int down = layout.components[0].down;
    return std::min(layout.mcus_down(), (rows + down - 1) / down + (down - 1));
  }

  // False where data is damaged.
  bool read() {
    std::array<Decoder, 3> decoders = make_decoders();
    int left = layout_.restart_interval;
    std::uint8_t marker = 0xD0;
    const int mcus_across = layout_.mcus_across();
    for (int y = 0; y < mcus_down_; ++y) {
      for (int x = 0; x < mcus_across; ++x) {
        if (layout_.restart_interval > 0 && left-- == 0) {
          if (!bits_.ends_at(marker)) return false;
          marker = static_cast<std::uint8_t>(0xD0 + (marker + 1) % 8);
          left = layout_.restart_interval - 1;
          for (Decoder& decoder : decoders) decoder.value = 0;
        }
        for (int i = 0; i < layout_.count; ++i)
          if (!read_blocks(i, x, y, decoders[static_cast<std::size_t>(i)])) return false;
      }
      if (bits_.is_past_the_end()) return false;
    }
    constexpr std::uint8_t kEndOfImage = 0xD9;
    return mcus_down_ < layout_.mcus_down() || bits_.ends_at(kEndOfImage);
  }

  std::array<MeanPlane, 3> take_planes() { return std::move(planes_); }

 private:
  struct Decoder {
    CodeReader dc = CodeReader({});
    const SkipTable* ac = nullptr;
    int value = 0;  // the last block's coefficient
  };

  std::array<Decoder, 3> make_decoders() const {
    const auto make = [&](int i) {
      const JpegLayout::Component& component = component_of(i);
      return Decoder{CodeReader(component.dc), &skip_table(component.ac, static_cast<std::size_t>(i)), 0};
    };
    if (layout_.count == 1) return {make(0)};
    return {make(0), make(1), make(2)};
  }

  bool read_blocks(int i, int x, int y, Decoder& decoder) {
    const JpegLayout::Component& component = component_of(i);
    MeanPlane& plane = planes_[static_cast<std::size_t>(i)];
    for (int down = 0; down < component.down; ++down) {
      const std::ptrdiff_t row = std::ptrdiff_t{y} * component.down + down;
      std::uint8_t* const to = plane.means.data() + row * plane.width + std::ptrdiff_t{x} * component.across;
      for (int across = 0; across < component.across; ++across) {
        if (!read_difference(decoder) || !skip_block(bits_, *decoder.ac)) return false;
        to[across] = mean_of(decoder.value, component.dc_step);
      }
    }
    return true;
  }

  // ITU-T T.81, F.2.2.1.
  bool read_difference(Decoder& decoder) {
    constexpr int kMostBits = 11;
    constexpr int kMost = 1 << 15;
    if (bits_.count() < 32) bits_.refill();
    const auto [length, size] = decoder.dc.find(bits_.next(16));
    if (length == 0 || size > kMostBits) return false;
    bits_.drop(length);
    if (size == 0) return true;
    const int bits = static_cast<int>(bits_.next(size));
    bits_.drop(size);
    const bool is_negative = bits < 1 << (size - 1);
    decoder.value += is_negative ? bits + 1 - (1 << size) : bits;
    return std::abs(decoder.value) < kMost;
  }

  // The transform's scale makes a block's mean an eighth of its coefficient; pixels are centred at 128.
  static std::uint8_t mean_of(std::int64_t coefficient, int step) {
    return static_cast<std::uint8_t>(std::clamp<std::int64_t>(((coefficient * step + 4) >> 3) + 128, 0, 255));
  }

  const JpegLayout::Component& component_of(int i) const { return layout_.components[static_cast<std::size_t>(i)]; }

  const JpegLayout& layout_;
  int mcus_down_;
  BitReader bits_;
  std::array<MeanPlane, 3> planes_;
};

}  // namespace

std::optional<std::array<MeanPlane, 3>> read_mean_planes(const JpegLayout& layout, int rows) {
  ScanReader scan(layout, rows);
  if (!scan.read()) return std::nullopt;
  return scan.take_planes();
}

}  // namespace cskd::data
