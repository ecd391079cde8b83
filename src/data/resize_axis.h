// Which source samples make one sample of the result, along one axis.
#pragma once

#include <cstdint>
#include <vector>

#include "data/resize.h"

namespace cskd::data {

// Fractional bits of a coefficient: 8-bit samples and a sum that overshoots by less than 4 times fit into 32 bits.
constexpr int kCoefficientBits = 32 - 8 - 2;

struct Axis {
  struct Window {
    int first;  // source sample
    int count;
  };
  std::vector<Window> windows;             // [size of the result]
  std::vector<std::int32_t> coefficients;  // [size of the result, stride]
  std::size_t stride = 0;

  const std::int32_t* of(int i) const { return coefficients.data() + stride * static_cast<std::size_t>(i); }
};

// Samples [start, start + length) of `source` samples become `target` samples. The windows reach out of that range
// where the source has samples there, as Pillow's do. Every operation and its order are those of Pillow 12,
// src/libImaging/Resample.c, precompute_coeffs and normalize_coeffs_8bpc.
Axis make_axis(int source, int start, int length, int target, Filter filter);

}  // namespace cskd::data
