// The few functions that rendering needs, from operations that IEEE 754 rounds exactly; see Note [The same bytes
// everywhere].
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>

namespace cskd::demo {

constexpr float clamp01(float x) { return std::min(std::max(x, 0.0F), 1.0F); }
constexpr float mix(float a, float b, float t) { return a + (b - a) * t; }

// 0 below `low`, 1 above `high`, smooth between. REQUIRES: low < high
constexpr float smooth_step(float low, float high, float x) {
  const float t = clamp01((x - low) / (high - low));
  return t * t * (3 - 2 * t);
}

// Largest whole number not above x; exact, and fast without SSE4. REQUIRES: |x| < 2^31
inline float floor_exact(float x) {
  const auto truncated = static_cast<float>(static_cast<std::int32_t>(x));
  return truncated > x ? truncated - 1 : truncated;
}

// sin(2 pi x), absolute error below 2e-6: Taylor series of degree 11 on a quarter turn. REQUIRES: |x| < 2^22
inline float sine_of_turns(float x) {
  float t = x - floor_exact(x + 0.5F);  // [-0.5, 0.5)
  if (t > 0.25F) t = 0.5F - t;          // sin(pi - a) = sin(a)
  if (t < -0.25F) t = -0.5F - t;
  const float a = t * 6.2831853F;
  const float s = a * a;
  return a * (1 - s / 6 * (1 - s / 20 * (1 - s / 42 * (1 - s / 72 * (1 - s / 110)))));
}

// exp(-x * x), within 1e-4 for any x: (1 - x^2 / 1024)^1024 would drift, so the series is squared instead.
inline double bell(double x) {
  double y = x * x;
  if (y > 40) return 0;
  y /= 64;  // in [0, 0.625]: the series converges fast, six squarings undo the division
  double value = 1 - y * (1 - y / 2 * (1 - y / 3 * (1 - y / 4 * (1 - y / 5 * (1 - y / 6 * (1 - y / 7))))));
  for (int i = 0; i < 6; ++i) value *= value;
  return value;
}

// 2^x within 1e-6 relative for |x| <= 8.
inline float power_of_two(float x) {
  const float whole = floor_exact(x);
  const float a = (x - whole) * 0.69314718F;
  float value = 1 + a * (1 + a / 2 * (1 + a / 3 * (1 + a / 4 * (1 + a / 5 * (1 + a / 6 * (1 + a / 7))))));
  for (float i = 0; i < whole; ++i) value *= 2;
  for (float i = 0; i > whole; --i) value *= 0.5F;
  return value;
}

}  // namespace cskd::demo
