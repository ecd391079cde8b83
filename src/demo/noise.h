// Value noise on an integer lattice, for clouds, waves, grass and grain.
#pragma once

#include <cstdint>

#include "demo/exact_math.h"

namespace cskd::demo {

// 32 well-mixed bits of a lattice point (finaliser of MurmurHash3, A. Appleby, public domain).
constexpr std::uint32_t lattice_hash(std::int32_t x, std::int32_t y, std::uint32_t seed) {
  std::uint32_t h = static_cast<std::uint32_t>(x) * 0x9E3779B1U ^ static_cast<std::uint32_t>(y) * 0x85EBCA77U ^ seed;
  h ^= h >> 16U;
  h *= 0x85EBCA6BU;
  h ^= h >> 13U;
  h *= 0xC2B2AE35U;
  return h ^ (h >> 16U);
}

constexpr float lattice_value(std::int32_t x, std::int32_t y, std::uint32_t seed) {
  return static_cast<float>(lattice_hash(x, y, seed) >> 8U) * 0x1.0p-24F;
}

// Smooth in x and y, in [0, 1), one value a unit square.
inline float value_noise(float x, float y, std::uint32_t seed) {
  const float fx = floor_exact(x);
  const float fy = floor_exact(y);
  const auto ix = static_cast<std::int32_t>(fx);
  const auto iy = static_cast<std::int32_t>(fy);
  const float u = (x - fx) * (x - fx) * (3 - 2 * (x - fx));
  const float v = (y - fy) * (y - fy) * (3 - 2 * (y - fy));
  const float top = mix(lattice_value(ix, iy, seed), lattice_value(ix + 1, iy, seed), u);
  const float bottom = mix(lattice_value(ix, iy + 1, seed), lattice_value(ix + 1, iy + 1, seed), u);
  return mix(top, bottom, v);
}

// Octaves of value noise, each of twice the frequency and half the height; mean about 0.5, in [0, 1).
inline float fractal_noise(float x, float y, std::uint32_t seed, int octaves) {
  float sum = 0;
  float total = 0;
  float height = 1;
  for (int i = 0; i < octaves; ++i) {
    sum += height * value_noise(x, y, seed + static_cast<std::uint32_t>(i) * 0x632BE5ABU);
    total += height;
    height *= 0.5F;
    x = x * 2 + 17;
    y = y * 2 + 31;
  }
  return sum / total;
}

}  // namespace cskd::demo
