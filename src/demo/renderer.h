// From a scene to pixels.
//
// Note [The same bytes everywhere]
// A corpus is the same to the byte on any processor: rendering uses only operations that IEEE 754 rounds exactly (+ - *
// / sqrt), in a fixed order, without contraction into fused multiply-add, and its own sine and exponential
// (exact_math.h), since those of the C library differ between processors.
#pragma once

#include "demo/picture.h"
#include "demo/scene.h"

namespace cskd::demo {

// The picture of a scene, scene.width x scene.height. Pure, thread-safe.
Picture render(const Scene& scene);

}  // namespace cskd::demo
