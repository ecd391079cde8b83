// The source samples that make one sample of a resized picture, along one axis.
#pragma once

#include <cstdint>
#include <vector>

#include "data/resize.h"

namespace cskd::data {

// Pillow's coefficients.
struct Axis {
  struct Window {
    int first;  // source sample
    int count;
  };
  std::vector<Window> windows;             // [size of the result]; neither end ever moves back
  std::vector<std::int32_t> coefficients;  // [size of the result, stride]; zeros behind those of a window
  std::size_t stride = 0;

  const std::int32_t* of(std::size_t i) const { return coefficients.data() + stride * i; }
};

// Fractional bits of a coefficient: 8-bit samples and a sum that overshoots by less than 4 times fit into 32 bits.
constexpr int kCoefficientBits = 32 - 8 - 2;

// Samples [start, start + length) of `source` samples become `target` samples. The windows reach out of that range
// where the source has samples there, as Pillow's do. Every operation and its order are those of Pillow 12,
// src/libImaging/Resample.c, precompute_coeffs and normalize_coeffs_8bpc.
Axis make_axis(int source, double start, double length, int target, Filter filter);

// Note [Taps]
// Processors multiply and add two 16-bit numbers at once, but not two of 32 bits. So source samples go in pairs (2p,
// 2p + 1) of 16 bits each, and so do coefficients. For kExact each is cut into two parts, high * 2^kLowBits + low: the
// sum of the products with the high parts, shifted, and of those with the low parts is the sum of the products with the
// whole, bit for bit, and takes half of the time of 32-bit products. For kFast there is one part, of
// kFastCoefficientBits fractional bits. All windows hold the same number of pairs, so that the processor foresees the
// end of each; the coefficients of samples that a window has no need of are 0.
struct TapAxis {
  int parts = 1;                   // 2: kExact
  int count = 0;                   // pairs of each window
  std::vector<int> windows;        // [size of the result], first pair
  std::vector<std::int16_t> taps;  // [size of the result, count, parts, 2]

  int first_pair() const;  // of all windows
  int end_pair() const;
  const std::int16_t* of(std::size_t i) const {
    return taps.data() + std::size_t{2} * static_cast<std::size_t>(parts * count) * i;
  }
};

constexpr int kLowBits = 12;
constexpr int kFastCoefficientBits = 14;  // coefficients, which are below 2, fit into 16 bits

// `mirrored`: the result's last sample comes first. kFast: coefficients sum to exactly 1 in each window.
TapAxis make_taps(const Axis& axis, ResizeMode mode, bool mirrored);

}  // namespace cskd::data
