// The things that stand in a scene.
#pragma once

#include "demo/canvas.h"
#include "demo/scene.h"
#include "demo/surroundings.h"

namespace cskd::demo {

// Draws one object with its soft shadow, lit from the scene's sun. `detail` draws small parts (windows, stripes) too.
void draw_object(const Object& object, const Scene& scene, const Palette& palette, bool detail, Canvas& canvas);

// The part of the canvas that draw_object() may touch, with `margin` pixels around it.
Canvas::Box box_of(const Object& object, const Scene& scene, float margin);

}  // namespace cskd::demo
