// Which source samples make one sample of the result, along one axis.
#pragma once

#include <cstdint>
#include <vector>

#include "data/resize.h"

namespace cskd::data {

// Fractional bits of a coefficient. Exact: 8-bit samples and a sum that overshoots by less than 4 times fit into 32
// bits. Fast: coefficients, which are below 2, fit into 16 bits.
constexpr int kCoefficientBits = 32 - 8 - 2;
constexpr int kFastCoefficientBits = 14;

template <typename Coefficient>
struct AxisOf {
  struct Window {
    int first;  // source sample
    int count;
  };
  std::vector<Window> windows;            // [size of the result]
  std::vector<Coefficient> coefficients;  // [size of the result, stride]; zeros behind those of a window
  std::size_t stride = 0;

  const Coefficient* of(int i) const { return coefficients.data() + stride * static_cast<std::size_t>(i); }
};
using Axis = AxisOf<std::int32_t>;
using FastAxis = AxisOf<std::int16_t>;  // its stride is even

// Samples [start, start + length) of `source` samples become `target` samples. The windows reach out of that range
// where the source has samples there, as Pillow's do. Every operation and its order are those of Pillow 12,
// src/libImaging/Resample.c, precompute_coeffs and normalize_coeffs_8bpc.
Axis make_axis(int source, double start, double length, int target, Filter filter);

// The same with coefficients of 16 bits that sum to exactly 1 in each window.
FastAxis fast_axis(const Axis& axis);

}  // namespace cskd::data
