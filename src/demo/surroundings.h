// Sky and land: everything of a picture that is no object.
#pragma once

#include "demo/canvas.h"
#include "demo/scene.h"

namespace cskd::demo {

// The colours that light and weather give to a scene.
struct Palette {
  Colour zenith;
  Colour horizon;        // of the sky right above the horizon; distant things fade into it
  Colour sunlight;       // of what the sun shines on
  float brightness = 1;  // of the land, 1 by day
};

Palette palette_of(const Scene& scene);

// Height of the horizon in pixels at column x.
inline float horizon_at(const Scene& scene, float x) {
  return scene.horizon * static_cast<float>(scene.height) + scene.tilt * (x - 0.5F * static_cast<float>(scene.width));
}

// Paints every pixel of the canvas.
void paint_surroundings(const Scene& scene, const Palette& palette, Canvas& canvas);

}  // namespace cskd::demo
