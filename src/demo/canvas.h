// A picture in the making: planes of floats, with coverage so that layers can be blurred and laid over each other.
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include "demo/colour.h"

namespace cskd::demo {

// Premultiplied colour and coverage, each plane [height, width], row by row.
class Canvas {
 public:
  Canvas(int width, int height)
      : width_(width), height_(height), planes_{Plane(area()), Plane(area()), Plane(area()), Plane(area())} {}

  int width() const { return width_; }
  int height() const { return height_; }
  using Plane = std::vector<float>;
  Plane& plane(int i) { return planes_[i]; }  // 0 red, 1 green, 2 blue, 3 coverage
  const Plane& plane(int i) const { return planes_[i]; }

  // Lays `colour` over the pixel with coverage `alpha` in [0, 1].
  void blend(int x, int y, const Colour& colour, float alpha) {
    const size_t i = static_cast<size_t>(y) * static_cast<size_t>(width_) + static_cast<size_t>(x);
    planes_[0][i] += (colour.r - planes_[0][i]) * alpha;
    planes_[1][i] += (colour.g - planes_[1][i]) * alpha;
    planes_[2][i] += (colour.b - planes_[2][i]) * alpha;
    planes_[3][i] += (1 - planes_[3][i]) * alpha;
  }

  // Lays a shape over the pixels of a box (clipped to the canvas): `shape(x, y)` is the signed distance of the pixel's
  // centre in pixels, negative inside, and `paint(x, y)` its colour. The edge is one pixel soft.
  template <typename Shape, typename Paint>
  void fill(float left, float top, float right, float bottom, const Shape& shape, const Paint& paint,
            float opacity = 1) {
    const int x0 = std::max(0, static_cast<int>(left) - 1);
    const int x1 = std::min(width_, static_cast<int>(right) + 2);
    const int y0 = std::max(0, static_cast<int>(top) - 1);
    const int y1 = std::min(height_, static_cast<int>(bottom) + 2);
    for (int y = y0; y < y1; ++y) {
      for (int x = x0; x < x1; ++x) {
        const float alpha = clamp01(0.5F - shape(static_cast<float>(x) + 0.5F, static_cast<float>(y) + 0.5F));
        if (alpha > 0) blend(x, y, paint(static_cast<float>(x) + 0.5F, static_cast<float>(y) + 0.5F), alpha * opacity);
      }
    }
  }

  // Columns and rows [left, right) x [top, bottom) of the canvas.
  struct Box {
    int left;
    int top;
    int right;
    int bottom;
  };
  Box whole() const { return {0, 0, width_, height_}; }

  // Softens what is in the box with two box filters of `radius` pixels (fractions count), as if its edges went on for
  // ever. Below 0.05: nothing. REQUIRES: the box lies in the canvas
  void blur(float radius, const Box& box);

  // Lays `layer`, of the same size, over this one.
  void overlay(const Canvas& layer);

 private:
  size_t area() const { return static_cast<size_t>(width_) * static_cast<size_t>(height_); }

  int width_;
  int height_;
  Plane planes_[4];
};

}  // namespace cskd::demo
