#include "demo/objects.h"

#include <cmath>

namespace cskd::demo {
namespace {

// Signed distances in pixels, negative inside.
float ellipse(float x, float y, float cx, float cy, float rx, float ry) {
  const float dx = (x - cx) / rx;
  const float dy = (y - cy) / ry;
  return (std::sqrt(dx * dx + dy * dy) - 1) * std::min(rx, ry);
}

float box(float x, float y, float left, float top, float right, float bottom) {
  return std::max(std::max(left - x, x - right), std::max(top - y, y - bottom));
}

// A trapezoid with horizontal edges of half widths `half_top` and `half_bottom` around the line x = cx.
float trapezoid(float x, float y, float cx, float top, float bottom, float half_top, float half_bottom) {
  const float t = clamp01((y - top) / (bottom - top));
  const float half = half_top + (half_bottom - half_top) * t;
  return std::max(std::max(top - y, y - bottom), std::abs(x - cx) - half);
}

// Draws the parts of one object: places are in units of the object's height, right and up from its foot.
class Painter {
 public:
  Painter(const Object& object, const Scene& scene, const Palette& palette, Canvas& canvas)
      : canvas_(canvas),
        size_(object.size * static_cast<float>(scene.height)),
        x_(object.x * static_cast<float>(scene.width)),
        y_(object.y * static_cast<float>(scene.height)),
        sun_side_(scene.sun_x < object.x ? -1.0F : 1.0F),
        brightness_(0.35F + 0.65F * palette.brightness),
        air_(palette.horizon),
        haze_(scene.weather == Weather::kMisty ? 0.22F : 0.04F) {}

  // A colour in the light of this scene.
  Colour lit(const Colour& colour) const { return mix(colour * brightness_, air_, haze_); }

  // Shades `colour` as on a round body: `aside` from -1 at its left edge to 1 at its right one.
  Colour round(const Colour& colour, float aside) const {
    return lit(colour * (0.78F + 0.3F * sun_side_ * aside - 0.18F * aside * aside));
  }

  void shadow(float width) {
    const float rx = width * size_;
    const float ry = 0.22F * rx + 1;
    const float cx = x_ - sun_side_ * 0.35F * rx;
    canvas_.fill(
        cx - rx, y_ - ry, cx + rx, y_ + ry, [&](float x, float y) { return ellipse(x, y, cx, y_, rx, ry) / ry * 2; },
        [](float, float) {
          return Colour{0.05F, 0.05F, 0.08F};
        },
        0.4F);
  }
  void oval(float cx, float cy, float rx, float ry, const Colour& colour) {
    const float px = x_ + cx * size_;
    const float py = y_ - cy * size_;
    const float prx = std::max(rx * size_, 0.6F);
    const float pry = std::max(ry * size_, 0.6F);
    canvas_.fill(
        px - prx, py - pry, px + prx, py + pry, [&](float x, float y) { return ellipse(x, y, px, py, prx, pry); },
        [&](float x, float y) { return round(colour * (1.08F + 0.25F * (py - y) / pry), (x - px) / prx); });
  }
  // Between heights `low` and `high`, as wide as given at both ends; `stripes` bands of a second colour across.
  void tapered(float cx, float low, float high, float half_low, float half_high, const Colour& colour,
               const Colour& band, int stripes) {
    const float px = x_ + cx * size_;
    const float top = y_ - high * size_;
    const float bottom = y_ - low * size_;
    const float half_top = half_high * size_;
    const float half_bottom = half_low * size_;
    const float widest = std::max(half_top, half_bottom);
    canvas_.fill(
        px - widest, top, px + widest, bottom,
        [&](float x, float y) { return trapezoid(x, y, px, top, bottom, half_top, half_bottom); },
        [&](float x, float y) {
          const float t = clamp01((y - top) / (bottom - top)) * static_cast<float>(2 * stripes + 1);
          const bool is_band = stripes > 0 && static_cast<int>(t) % 2 == 1;
          return round(is_band ? band : colour, (x - px) / std::max(widest, 0.5F));
        });
  }
  void rectangle(float left, float low, float right, float high, const Colour& colour) {
    const float l = x_ + left * size_;
    const float r = x_ + right * size_;
    const float t = y_ - high * size_;
    const float b = y_ - low * size_;
    canvas_.fill(
        l, t, r, b, [&](float x, float y) { return box(x, y, l, t, r, b); },
        [&](float x, float) { return lit(colour * (0.86F + 0.16F * sun_side_ * (2 * x - l - r) / (r - l))); });
  }

 private:
  Canvas& canvas_;
  float size_;
  float x_;
  float y_;
  float sun_side_;
  float brightness_;
  Colour air_;
  float haze_;
};

struct Paints {
  Colour main;
  Colour dark;
  Colour pale;
};

constexpr Colour kWood{0.36F, 0.24F, 0.15F};
constexpr Colour kSkin{0.86F, 0.66F, 0.53F};
constexpr Colour kWhite{0.95F, 0.94F, 0.9F};
constexpr Colour kPollen{0.96F, 0.8F, 0.3F};
constexpr Colour kGlass{0.22F, 0.27F, 0.34F};

void draw_boat(Painter& p, const Paints& paints, bool detail) {
  p.tapered(0, 0, 0.2F, 0.3F, 0.46F, paints.main, kWhite, detail ? 1 : 0);
  p.rectangle(-0.02F, 0.2F, 0.02F, 1, kWood);
  p.tapered(0.2F, 0.28F, 0.95F, 0.2F, 0.01F, paints.pale, paints.main, 0);
  p.tapered(-0.14F, 0.28F, 0.8F, 0.13F, 0.01F, paints.main, paints.main, 0);
}

void draw_tree(Painter& p, const Paints& paints, bool detail) {
  p.shadow(0.36F);
  p.tapered(0, 0, 0.5F, 0.06F, 0.035F, kWood, kWood, 0);
  p.oval(0, 0.66F, 0.3F, 0.26F, paints.dark);
  p.oval(-0.17F, 0.58F, 0.2F, 0.18F, paints.main);
  p.oval(0.18F, 0.6F, 0.2F, 0.19F, paints.main);
  p.oval(0, 0.8F, 0.22F, 0.2F, paints.main);
  if (!detail) return;
  p.oval(-0.08F, 0.84F, 0.1F, 0.09F, paints.pale);
  p.oval(0.14F, 0.68F, 0.09F, 0.08F, paints.pale);
}

void draw_house(Painter& p, const Paints& paints, bool detail) {
  p.shadow(0.6F);
  p.rectangle(-0.46F, 0, 0.46F, 0.56F, kWhite);
  p.tapered(0, 0.54F, 1, 0.58F, 0.06F, paints.main, paints.dark, detail ? 2 : 0);
  p.rectangle(-0.08F, 0, 0.1F, 0.34F, paints.dark);
  p.rectangle(-0.36F, 0.2F, -0.18F, 0.4F, kGlass);
  p.rectangle(0.2F, 0.2F, 0.38F, 0.4F, kGlass);
  if (detail) p.rectangle(0.22F, 0.86F, 0.34F, 1.06F, paints.dark);
}

void draw_person(Painter& p, const Paints& paints, bool detail) {
  p.shadow(0.2F);
  p.tapered(-0.06F, 0, 0.45F, 0.045F, 0.06F, paints.dark, paints.dark, 0);
  p.tapered(0.06F, 0, 0.45F, 0.045F, 0.06F, paints.dark, paints.dark, 0);
  p.tapered(0, 0.38F, 0.8F, 0.15F, 0.12F, paints.main, paints.pale, detail ? 1 : 0);
  p.oval(-0.15F, 0.6F, 0.045F, 0.17F, paints.main);
  p.oval(0.15F, 0.6F, 0.045F, 0.17F, paints.main);
  p.oval(0, 0.89F, 0.085F, 0.1F, kSkin);
  p.oval(0, 0.95F, 0.09F, 0.055F, kWood);
}

void draw_balloon(Painter& p, const Paints& paints, bool detail) {
  p.tapered(0, 0.12F, 0.42F, 0.06F, 0.2F, paints.dark, paints.dark, 0);
  p.oval(0, 0.66F, 0.32F, 0.34F, paints.main);
  if (detail) {
    p.oval(0, 0.66F, 0.17F, 0.34F, paints.pale);
    p.oval(0, 0.66F, 0.06F, 0.34F, paints.main);
  }
  p.rectangle(-0.06F, 0, 0.06F, 0.11F, kWood);
}

void draw_vase(Painter& p, const Paints& paints, bool detail) {
  p.shadow(0.34F);
  p.oval(0, 0.24F, 0.22F, 0.24F, paints.main);
  p.tapered(0, 0.38F, 0.56F, 0.09F, 0.12F, paints.main, paints.pale, detail ? 1 : 0);
  p.rectangle(-0.012F, 0.52F, 0.012F, 0.86F, Colour{0.25F, 0.42F, 0.2F});
  p.oval(-0.15F, 0.78F, 0.1F, 0.1F, paints.pale);
  p.oval(0.15F, 0.76F, 0.1F, 0.1F, paints.pale);
  p.oval(0, 0.9F, 0.11F, 0.11F, paints.main);
  if (!detail) return;
  p.oval(-0.15F, 0.78F, 0.035F, 0.035F, kPollen);
  p.oval(0.15F, 0.76F, 0.035F, 0.035F, kPollen);
  p.oval(0, 0.9F, 0.04F, 0.04F, kPollen);
}

void draw_lighthouse(Painter& p, const Paints& paints, bool detail) {
  p.oval(0, 0.02F, 0.34F, 0.07F, Colour{0.3F, 0.29F, 0.28F});
  p.tapered(0, 0.02F, 0.8F, 0.15F, 0.095F, kWhite, paints.main, detail ? 3 : 2);
  p.rectangle(-0.12F, 0.79F, 0.12F, 0.82F, kGlass);
  p.rectangle(-0.075F, 0.82F, 0.075F, 0.92F, Colour{1, 0.92F, 0.6F});
  p.tapered(0, 0.91F, 1, 0.1F, 0.015F, paints.main, paints.main, 0);
}

void draw_ball(Painter& p, const Paints& paints, bool detail) {
  p.shadow(0.55F);
  p.oval(0, 0.5F, 0.5F, 0.5F, paints.main);
  if (detail) p.oval(-0.14F, 0.68F, 0.13F, 0.11F, mix(paints.main, Colour{1, 1, 1}, 0.55F));
}

}  // namespace

Canvas::Box box_of(const Object& object, const Scene& scene, float margin) {
  const auto pixels = [](float position, int size) { return std::clamp(static_cast<int>(position), 0, size); };
  const float size = object.size * static_cast<float>(scene.height);
  const float x = object.x * static_cast<float>(scene.width);
  const float y = object.y * static_cast<float>(scene.height);
  return {pixels(x - 0.9F * size - margin, scene.width), pixels(y - 1.1F * size - margin, scene.height),
          pixels(x + 0.9F * size + margin + 1, scene.width), pixels(y + 0.2F * size + margin + 1, scene.height)};
}

void draw_object(const Object& object, const Scene& scene, const Palette& palette, bool detail, Canvas& canvas) {
  Painter painter(object, scene, palette, canvas);
  const Paints paints{from_hsv(object.hue, object.saturation, 0.86F), from_hsv(object.hue, object.saturation, 0.45F),
                      from_hsv(object.hue, object.saturation * 0.45F, 0.97F)};
  switch (object.thing) {
    case Thing::kBoat:
      return draw_boat(painter, paints, detail);
    case Thing::kTree:
      return draw_tree(painter, paints, detail);
    case Thing::kHouse:
      return draw_house(painter, paints, detail);
    case Thing::kPerson:
      return draw_person(painter, paints, detail);
    case Thing::kBalloon:
      return draw_balloon(painter, paints, detail);
    case Thing::kVase:
      return draw_vase(painter, paints, detail);
    case Thing::kLighthouse:
      return draw_lighthouse(painter, paints, detail);
    case Thing::kBall:
      return draw_ball(painter, paints, detail);
  }
}

}  // namespace cskd::demo
