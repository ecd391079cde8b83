// The two inner loops of resize(): weighted sums of 8-bit samples in fixed point.
#pragma once

#include <cstddef>
#include <cstdint>

#include "data/resize_axis.h"

namespace cskd::data {

// The horizontal pass works on kRowsAtOnce rows side by side, [columns, kRowsAtOnce, 4]: red, green, blue and one byte
// without meaning. A column is kColumnBytes that share their coefficient.
constexpr int kRowsAtOnce = 4;
constexpr int kColumnBytes = kRowsAtOnce * 4;

template <typename Coefficient>
struct ResizeLoopsOf {
  // Column x of `to`, for 0 <= x < width, is the sum over window x of `axis`; `from` begins with column `origin`. One
  // more column than the windows hold can be read.
  void (*columns)(const std::uint8_t* from, int origin, const AxisOf<Coefficient>& axis, int width, std::uint8_t* to);
  // `to` is the sum of `count` rows of `row_bytes` that begin at `from` and lie `row_bytes` apart.
  void (*rows)(const std::uint8_t* from, const Coefficient* coefficients, int count, std::size_t row_bytes,
               std::uint8_t* to);
};
using ResizeLoops = ResizeLoopsOf<std::int32_t>;
using FastResizeLoops = ResizeLoopsOf<std::int16_t>;

// For every processor.
ResizeLoops portable_resize_loops();
FastResizeLoops portable_fast_resize_loops();

// Those for the processor that this runs on; the results are the same.
ResizeLoops fastest_resize_loops();
FastResizeLoops fastest_fast_resize_loops();

}  // namespace cskd::data
