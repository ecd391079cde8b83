// The inner loops of a resize: weighted sums of 8-bit samples in fixed point.
//
// Note [Pairs of samples]
// What goes into a sum is laid out so that one instruction multiplies and adds two samples (Note [Taps]): along an
// axis, samples 2p and 2p + 1 lie side by side as 16-bit words. The horizontal pass works on kRowsAtOnce rows, [pairs
// of columns, kRowsAtOnce, 4, 2]: red, green, blue and one channel without meaning. It leaves pairs of rows, [3 *
// width, 2], for the vertical one.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

#include "data/resize_axis.h"

namespace cskd::data {

constexpr int kRowsAtOnce = 4;
// 16-bit words of a pair of columns, and of four.
constexpr std::size_t kPairWords = std::size_t{kRowsAtOnce} * 4 * 2;

struct ResizeLoops {
  // `columns` pixels (RGBX) of kRowsAtOnce rows to ceil(columns / 4) * 2 pairs at `to`. 15 bytes behind a row may be
  // read; what comes of them is without meaning.
  void (*lay)(const std::uint8_t* const* rows, int columns, std::uint16_t* to);
  // Pairs from `origin` on to two rows of pairs, at `upper` and `lower`: 3 * width pairs each, and 2 pairs behind them
  // are overwritten.
  void (*columns)(const std::uint16_t* from, int origin, const TapAxis& axis, std::uint16_t* upper,
                  std::uint16_t* lower);
  // `to` [samples] is the sum over window `row` of the axis, of rows of pairs that begin at `from` and lie `pitch`
  // words apart.
  void (*rows)(const std::uint16_t* from, std::size_t pitch, const TapAxis& axis, std::size_t row, std::size_t samples,
               std::uint8_t* to);
};

// Those that run on this processor, slowest first; the first ones run on every processor. The results are the same.
std::vector<ResizeLoops> resize_loops();

}  // namespace cskd::data
