// The layout of a JPEG's scan, as its segments give it, for files of the plainest kind.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

namespace cskd::data {

// Numbers of codes of each length, from 1 bit on, and what they stand for, in the order of the codes. ITU-T T.81,
// B.2.4.2.
struct JpegHuffmanCodes {
  std::array<std::uint8_t, 16> counts{};
  std::array<std::uint8_t, 256> symbols{};

  bool operator==(const JpegHuffmanCodes&) const = default;
};

struct JpegLayout {
  struct Component {
    int across = 1;  // blocks of a minimum coded unit (MCU)
    int down = 1;
    int dc_step = 0;  // quantisation step of the DC coefficient
    JpegHuffmanCodes dc;
    JpegHuffmanCodes ac;
  };

  int width = 0;
  int height = 0;
  int count = 0;  // of components: 1 of grey, 3 of YCbCr, whose second and third have one block in an MCU
  std::array<Component, 3> components;
  int restart_interval = 0;             // MCUs between two restart markers; 0: there are none
  std::span<const std::uint8_t> coded;  // from the scan's first byte to the end of the file

  bool halves_colour() const { return components[0].across * components[0].down > 1; }
  int mcus_across() const { return (width + 8 * components[0].across - 1) / (8 * components[0].across); }
  int mcus_down() const { return (height + 8 * components[0].down - 1) / (8 * components[0].down); }
};

// Of a baseline JPEG (sequential DCT, Huffman codes, 8 bits) of grey or YCbCr whose scan holds all components, with the
// colour halved or not in each direction: what cameras and phones write. None for any other file, and for one that is
// damaged.
std::optional<JpegLayout> jpeg_layout(std::span<const std::byte> bytes);

}  // namespace cskd::data
