// Colours as three floats in [0, 1], in the gamma-encoded space that files store.
#pragma once

#include "demo/exact_math.h"

namespace cskd::demo {

struct Colour {
  float r = 0;
  float g = 0;
  float b = 0;
};

constexpr Colour mix(const Colour& a, const Colour& b, float t) {
  return {mix(a.r, b.r, t), mix(a.g, b.g, t), mix(a.b, b.b, t)};
}

constexpr Colour operator*(const Colour& colour, float factor) {
  return {colour.r * factor, colour.g * factor, colour.b * factor};
}

// Hue in degrees (any), saturation and value in [0, 1].
inline Colour from_hsv(float hue, float saturation, float value) {
  const auto channel = [&](float offset) {
    const float turned = (hue + offset) / 360;
    const float k = (turned - floor_exact(turned)) * 6;  // [0, 6)
    const float ramp = clamp01(k < 3 ? 2 - k : k - 4);   // 1 around the offset's hue, 0 opposite to it
    return value * (1 - saturation * (1 - ramp));
  };
  return {channel(0), channel(240), channel(120)};
}

// Degrees between two hues, [0, 180].
inline float hue_distance(float a, float b) {
  const float turns = (a - b) / 360;
  const float part = turns - floor_exact(turns);
  return 360 * std::min(part, 1 - part);
}

}  // namespace cskd::demo
