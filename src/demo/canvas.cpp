#include "demo/canvas.h"

namespace cskd::demo {
namespace {

// A part of a plane: rows `stride` floats apart.
template <typename Float>
struct Window {
  Float* start;
  int width;
  int height;
  int stride;

  Float* row(int y) const { return start + static_cast<std::ptrdiff_t>(y) * stride; }
};

// Mean over 2 radius + 1 neighbours along each row; the outermost two count by the fraction of the radius.
void box_rows(Window<const float> in, Window<float> out, float radius) {
  const int whole = static_cast<int>(radius);
  const float fraction = radius - static_cast<float>(whole);
  const float scale = 1 / (2 * radius + 1);
  for (int y = 0; y < in.height; ++y) {
    const float* from = in.row(y);
    float* to = out.row(y);
    const auto at = [&](int x) { return from[std::clamp(x, 0, in.width - 1)]; };
    float sum = 0;
    for (int k = -whole; k <= whole; ++k) sum += at(k);
    for (int x = 0; x < in.width; ++x) {
      to[x] = (sum + fraction * (at(x - whole - 1) + at(x + whole + 1))) * scale;
      sum += at(x + whole + 1) - at(x - whole);
    }
  }
}

// The same along columns, one row of sums at a time.
void box_columns(Window<const float> in, Window<float> out, float radius) {
  const int whole = static_cast<int>(radius);
  const float fraction = radius - static_cast<float>(whole);
  const float scale = 1 / (2 * radius + 1);
  const auto row = [&](int y) { return in.row(std::clamp(y, 0, in.height - 1)); };
  std::vector<float> sums(static_cast<size_t>(in.width), 0.0F);
  float* sum = sums.data();
  for (int k = -whole; k <= whole; ++k) {
    const float* from = row(k);
    for (int x = 0; x < in.width; ++x) sum[x] += from[x];
  }
  for (int y = 0; y < in.height; ++y) {
    const float* before = row(y - whole - 1);
    const float* after = row(y + whole + 1);
    const float* oldest = row(y - whole);
    float* to = out.row(y);
    for (int x = 0; x < in.width; ++x) {
      to[x] = (sum[x] + fraction * (before[x] + after[x])) * scale;
      sum[x] += after[x] - oldest[x];
    }
  }
}

}  // namespace

void Canvas::blur(float radius, const Box& box) {
  constexpr float kLeast = 0.05F;
  const int width = box.right - box.left;
  const int height = box.bottom - box.top;
  if (radius < kLeast || width <= 0 || height <= 0) return;
  Plane between(static_cast<size_t>(width) * static_cast<size_t>(height));
  const Window<float> buffer{between.data(), width, height, width};
  for (Plane& plane : planes_) {
    const Window<float> part{plane.data() + static_cast<std::ptrdiff_t>(box.top) * width_ + box.left, width, height,
                             width_};
    for (int pass = 0; pass < 2; ++pass) {
      box_rows({part.start, width, height, width_}, buffer, radius);
      box_columns({buffer.start, width, height, width}, part, radius);
    }
  }
}

void Canvas::overlay(const Canvas& layer) {
  const float* alpha = layer.planes_[3].data();
  for (int p = 0; p < 4; ++p) {
    const float* over = layer.planes_[p].data();
    float* under = planes_[p].data();
    for (size_t i = 0; i < area(); ++i) under[i] = over[i] + under[i] * (1 - alpha[i]);
  }
}

}  // namespace cskd::demo
