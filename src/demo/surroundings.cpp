#include "demo/surroundings.h"

#include <optional>

#include "demo/noise.h"

namespace cskd::demo {
namespace {

std::uint32_t low_bits(const Scene& scene, std::uint32_t salt) {
  return static_cast<std::uint32_t>(scene.texture) ^ salt;
}
std::uint32_t high_bits(const Scene& scene, std::uint32_t salt) {
  return static_cast<std::uint32_t>(scene.texture >> 32U) ^ salt;
}

// A point of the land: how near it is, 0 at the horizon, 1 at the lower edge of a picture without tilt.
struct LandPoint {
  float x;
  float y;
  float nearness;
};

// Texture coordinates that shrink towards the horizon as on a plane seen at a slant.
struct PlanePoint {
  float u;
  float v;
};

PlanePoint on_plane(const Scene& scene, const LandPoint& point, float scale) {
  const float depth = 1 / (0.06F + point.nearness);
  return {(point.x / static_cast<float>(scene.width) - 0.5F) * depth * scale, depth * scale * 0.9F};
}

Colour sea(const Scene& scene, const Palette& palette, const LandPoint& point) {
  const auto [u, v] = on_plane(scene, point, 5);
  const float wave = fractal_noise(u * 0.8F, v * 5, low_bits(scene, 0x11), 3);
  const Colour deep = from_hsv(scene.hue, 0.35F + 0.5F * scene.saturation, 0.24F + 0.3F * palette.brightness);
  Colour colour = mix(mix(palette.horizon, palette.zenith, 0.35F), deep, 0.25F + 0.6F * point.nearness);
  colour = mix(colour, palette.horizon, clamp01((wave - 0.55F) * 2.2F) * (1 - 0.4F * point.nearness));
  colour = colour * (0.85F + 0.3F * wave);
  // The sun's path on the water.
  const float aside = (point.x / static_cast<float>(scene.width) - scene.sun_x) / (0.05F + 0.12F * point.nearness);
  const float glitter = clamp01((wave - 0.5F) * 5) / (1 + aside * aside * 3);
  return mix(colour, palette.sunlight, 0.75F * glitter);
}

Colour grass(const Scene& scene, const Palette& palette, const LandPoint& point, float value) {
  const auto [u, v] = on_plane(scene, point, 9);
  const float patches = fractal_noise(u * 0.35F, v * 0.35F, low_bits(scene, 0x21), 2);
  const float blades = value_noise(u * 5, v * 2.5F, high_bits(scene, 0x22));
  const float hue = scene.hue + 26 * (patches - 0.5F);
  const float light = value * palette.brightness * (0.62F + 0.36F * patches + 0.3F * blades * point.nearness);
  return mix(palette.horizon, from_hsv(hue, 0.2F + 0.65F * scene.saturation, light),
             0.35F + 0.65F * clamp01(point.nearness * 2.5F));
}

Colour sand(const Scene& scene, const Palette& palette, const LandPoint& point) {
  const auto [u, v] = on_plane(scene, point, 2.2F);
  const float dune = fractal_noise(u * 0.7F + v * 0.2F, v * 0.9F, low_bits(scene, 0x31), 3);
  const float next = fractal_noise((u + 0.12F) * 0.7F + v * 0.2F, v * 0.9F, low_bits(scene, 0x31), 3);
  const float slope = (next - dune) * (scene.sun_x < 0.5F ? 7.0F : -7.0F);
  const float ripple = 0.5F + 0.5F * sine_of_turns(v * 2.6F + 3 * dune);
  const float light = palette.brightness * clamp01(0.72F + 0.5F * slope + 0.06F * ripple);
  return mix(palette.horizon, from_hsv(scene.hue, 0.18F + 0.6F * scene.saturation, light),
             0.5F + 0.5F * clamp01(point.nearness * 3));
}

Colour snow(const Scene& scene, const Palette& palette, const LandPoint& point) {
  const auto [u, v] = on_plane(scene, point, 2);
  const float drift = fractal_noise(u, v, low_bits(scene, 0x41), 3);
  const Colour shade = from_hsv(scene.hue, 0.15F + 0.45F * scene.saturation, 0.62F * palette.brightness);
  const Colour bright = mix(Colour{1, 1, 1}, palette.sunlight, 0.4F) * (0.35F + 0.63F * palette.brightness);
  return mix(shade, bright, smooth_step(0.3F, 0.68F, drift));
}

Colour street(const Scene& scene, const Palette& palette, const LandPoint& point) {
  const auto [u, v] = on_plane(scene, point, 4);
  const float stones = value_noise(u * 4, v * 3, low_bits(scene, 0x51));
  const float wet = fractal_noise(u * 0.6F, v * 0.6F, high_bits(scene, 0x52), 2);
  const Colour stone =
      from_hsv(scene.hue, 0.1F + 0.35F * scene.saturation, palette.brightness * (0.36F + 0.14F * stones));
  return mix(stone, palette.horizon, 0.35F * smooth_step(0.5F, 0.75F, wet));
}

Colour table(const Scene& scene, const Palette& palette, const LandPoint& point) {
  const auto [u, v] = on_plane(scene, point, 1.4F);
  const float grain = fractal_noise(u * 1.4F, v * 16, low_bits(scene, 0x61), 3);
  const float aside = point.x / static_cast<float>(scene.width) - scene.sun_x;
  const float lit = 1 / (1 + 2.2F * aside * aside);
  const float value = palette.brightness * (0.34F + 0.26F * grain + 0.28F * lit);
  return from_hsv(scene.hue + 14 * (grain - 0.5F), 0.22F + 0.55F * scene.saturation, value);
}

Colour land(const Scene& scene, const Palette& palette, const LandPoint& point) {
  switch (scene.place) {
    case Place::kSea:
      return sea(scene, palette, point);
    case Place::kDesert:
      return sand(scene, palette, point);
    case Place::kSnow:
      return snow(scene, palette, point);
    case Place::kCity:
      return street(scene, palette, point);
    case Place::kTable:
      return table(scene, palette, point);
    case Place::kMountains:
    case Place::kForest:
      return grass(scene, palette, point, 0.62F);
    default:
      return grass(scene, palette, point, 0.9F);
  }
}

// A wall behind a table: plain, lit from the side of the window, with the shadow of its frame.
Colour wall(const Scene& scene, const Palette& palette, float x, float y) {
  const float u = x / static_cast<float>(scene.width);
  const float v = y / static_cast<float>(scene.height);
  const float aside = u - scene.sun_x;
  const float lit = 1 / (1 + 3 * aside * aside + v * v);
  const float frame = smooth_step(0.47F, 0.5F, value_noise(u * 3 + v * 0.8F, 0.5F, low_bits(scene, 0x71)));
  const float value = palette.brightness * (0.42F + 0.42F * lit * (0.75F + 0.25F * frame));
  return from_hsv(scene.hue - 6, 0.12F + 0.5F * scene.saturation, value);
}

Colour sky(const Scene& scene, const Palette& palette, float x, float y, float horizon) {
  if (scene.place == Place::kTable) return wall(scene, palette, x, y);
  const auto width = static_cast<float>(scene.width);
  const auto height = static_cast<float>(scene.height);
  const float up = clamp01((horizon - y) / (0.75F * height));
  Colour colour = mix(palette.horizon, palette.zenith, up * (2 - up));

  const float sun_height = scene.light == Light::kDay ? 0.75F : 0.12F;
  const float dx = (x / width - scene.sun_x) * width / height;
  const float dy = up * 0.75F - sun_height * 0.75F;
  const float from_sun = dx * dx + dy * dy;
  const float glow = 1 / (1 + from_sun * (scene.light == Light::kNight ? 90.0F : 22.0F));
  colour = mix(colour, palette.sunlight, glow * (scene.weather == Weather::kClear ? 0.85F : 0.5F));
  if (scene.weather != Weather::kMisty) {
    const float disc = scene.light == Light::kNight ? 0.0016F : 0.0028F;
    colour = mix(colour, palette.sunlight, smooth_step(disc * 1.6F, disc, from_sun));
  }
  if (scene.light == Light::kNight && scene.weather == Weather::kClear) {
    const std::uint32_t star =
        lattice_hash(static_cast<std::int32_t>(x), static_cast<std::int32_t>(y), low_bits(scene, 0x81));
    if (star % 701 == 0)
      colour = mix(colour, Colour{1, 1, 0.95F}, 0.35F + 0.6F * static_cast<float>(star >> 24U) / 255);
  }
  if (scene.weather == Weather::kClear && scene.place != Place::kSea) return colour;
  const float perspective = 1 / (0.25F + up);
  const float cloud = fractal_noise(x / width * 3.2F * perspective, perspective * 5, high_bits(scene, 0x82), 4);
  const float cover = scene.weather == Weather::kCloudy  ? smooth_step(0.42F, 0.72F, cloud)
                      : scene.weather == Weather::kMisty ? 0.35F * cloud
                                                         : 0.6F * smooth_step(0.55F, 0.8F, cloud);
  const Colour white = mix(Colour{1, 1, 1} * (0.2F + 0.78F * palette.brightness), palette.sunlight, 0.35F);
  return mix(colour, mix(palette.horizon, white, 0.3F + 0.7F * cloud), cover);
}

// Ridges, trees or houses that stand on the horizon: layers from far to near, each a height above the horizon per
// column.
void paint_skyline(const Scene& scene, const Palette& palette, Canvas& canvas) {
  const auto width = static_cast<float>(scene.width);
  const auto height = static_cast<float>(scene.height);
  const bool mountains = scene.place == Place::kMountains || scene.place == Place::kSnow;
  const bool forest = scene.place == Place::kForest;
  const bool city = scene.place == Place::kCity;
  const int layers = mountains ? 3 : forest ? 3 : city ? 2 : scene.place == Place::kMeadow ? 1 : 0;
  for (int layer = 0; layer < layers; ++layer) {
    const float distance = 1 - static_cast<float>(layer) / static_cast<float>(layers);  // 1 furthest
    const std::uint32_t seed = low_bits(scene, 0x91U + static_cast<std::uint32_t>(layer) * 0x1F3U);
    const float dark = palette.brightness * (0.2F + 0.3F * distance);
    const Colour body = mix(from_hsv(scene.hue + 10 * distance, 0.25F + 0.5F * scene.saturation, dark), palette.horizon,
                            (scene.weather == Weather::kMisty ? 0.8F : 0.6F) * distance);
    for (int column = 0; column < scene.width; ++column) {
      const auto x = static_cast<float>(column);
      float rise = 0;
      float block = 0;
      if (city) {
        const float blocks = x / width * (7 + 5 * distance);
        block = floor_exact(blocks);
        rise =
            (0.08F + 0.34F * lattice_value(static_cast<std::int32_t>(block), layer, seed)) * (0.6F + 0.5F * distance);
      } else if (mountains) {
        rise = (fractal_noise(x / width * 3.5F, 0.5F + static_cast<float>(layer), seed, 5) - 0.28F) *
               (0.25F + 0.4F * distance);
      } else if (forest) {
        const float crowns = fractal_noise(x / width * 22, static_cast<float>(layer), seed, 2);
        rise = (0.1F + 0.26F * crowns) * (0.55F + 0.6F * distance);
      } else {
        rise = 0.05F * fractal_noise(x / width * 9, 0.5F, seed, 3);
      }
      const float foot = horizon_at(scene, x);
      const float top = foot - rise * height;
      for (int row = std::max(0, static_cast<int>(top)); row < std::min(scene.height, static_cast<int>(foot) + 1);
           ++row) {
        const auto y = static_cast<float>(row);
        Colour colour = body;
        if (city) {
          const float wx = x / width * (7 + 5 * distance) * 5;
          const float wy = (foot - y) / height * 60;
          const bool window = wx - floor_exact(wx) > 0.45F && wy - floor_exact(wy) > 0.5F;
          const float lit = lattice_value(static_cast<std::int32_t>(wx), static_cast<std::int32_t>(wy), seed);
          const bool night = scene.light == Light::kNight || scene.light == Light::kDusk;
          colour = body * (0.85F + 0.3F * lattice_value(static_cast<std::int32_t>(block), 7, seed));
          if (window) colour = night && lit > 0.55F ? mix(colour, Colour{1, 0.85F, 0.5F}, 0.8F) : colour * 0.78F;
        } else if (mountains) {
          const float rock = fractal_noise(x / width * 14 + y / height * 6, y / height * 12, seed, 3);
          colour = body * (0.75F + 0.5F * rock);
          const float snow_line = scene.place == Place::kSnow ? 0.1F : 0.62F;
          const float relative = rise > 0 ? (foot - y) / (rise * height) : 0;
          const float white =
              smooth_step(snow_line, snow_line + 0.3F, relative + 0.5F * (rock - 0.5F)) * (rise > 0.12F ? 1.0F : 0.0F);
          colour = mix(colour, mix(palette.horizon, Colour{1, 1, 1}, 0.5F) * (0.3F + 0.7F * palette.brightness),
                       0.8F * white);
        } else {
          colour = body * (0.7F + 0.6F * value_noise(x / width * 60, y / height * 60, seed ^ 0x77U));
        }
        canvas.blend(column, row, colour, clamp01(y - top + 0.5F));
      }
    }
  }
}

// Lays `paint(x, y, below)` over the pixels that are `wanted(below)` with coverage `alpha(below)`, where `below` is the
// distance under the horizon. Only every second pixel of a row is painted, the others are the mean of their neighbours:
// texture is the costliest part of a picture, and at this size nobody sees the difference.
template <typename Wanted, typename Paint, typename Alpha>
void paint_pixels(const Scene& scene, Canvas& canvas, const Wanted& wanted, const Paint& paint, const Alpha& alpha) {
  for (int row = 0; row < scene.height; ++row) {
    const float y = static_cast<float>(row) + 0.5F;
    const auto below_at = [&](int column) { return y - horizon_at(scene, static_cast<float>(column) + 0.5F); };
    const auto colour_at = [&](int column) { return paint(static_cast<float>(column) + 0.5F, y, below_at(column)); };
    std::optional<Colour> next;  // painted for the column right of an odd one
    Colour last;
    for (int column = 0; column < scene.width; ++column) {
      const float below = below_at(column);
      if (!wanted(below)) {
        next.reset();
        continue;
      }
      const bool between = column % 2 == 1 && column + 1 < scene.width && column > 0 && wanted(below_at(column - 1));
      if (between) {
        next = colour_at(column + 1);
        canvas.blend(column, row, mix(last, *next, 0.5F), alpha(below));
        continue;
      }
      last = next ? *next : colour_at(column);
      next.reset();
      canvas.blend(column, row, last, alpha(below));
    }
  }
}

}  // namespace

Palette palette_of(const Scene& scene) {
  // The hue of the surroundings tints sky and light, so that it is the dominant one.
  const float tint = scene.hue;
  const float saturation = 0.25F + 0.6F * scene.saturation;
  Palette palette;
  switch (scene.light) {
    case Light::kDay:
      palette = {from_hsv(212 + 0.12F * (tint - 200), saturation * 0.85F, 0.82F),
                 from_hsv(205, saturation * 0.28F, 0.96F), Colour{1, 0.98F, 0.9F}, 1.0F};
      break;
    case Light::kDawn:
      palette = {from_hsv(225, saturation * 0.55F, 0.66F), from_hsv(345, saturation * 0.42F, 0.95F),
                 Colour{1, 0.88F, 0.76F}, 0.8F};
      break;
    case Light::kDusk:
      palette = {from_hsv(250, saturation * 0.7F, 0.4F), from_hsv(26, saturation * 0.85F, 0.95F), Colour{1, 0.8F, 0.5F},
                 0.68F};
      break;
    case Light::kNight:
      palette = {from_hsv(228, saturation, 0.1F), from_hsv(222, saturation * 0.8F, 0.26F), Colour{0.95F, 0.95F, 0.88F},
                 0.34F};
      break;
  }
  if (scene.weather != Weather::kClear) {
    const float grey = (palette.zenith.r + palette.zenith.g + palette.zenith.b) / 3;
    palette.zenith = mix(palette.zenith, Colour{grey, grey, grey}, scene.weather == Weather::kMisty ? 0.6F : 0.35F);
  }
  return palette;
}

void paint_surroundings(const Scene& scene, const Palette& palette, Canvas& canvas) {
  const auto height = static_cast<float>(scene.height);
  const float depth = height * (1 - scene.horizon);
  paint_pixels(
      scene, canvas, [](float below) { return below < 0.5F; },
      [&](float x, float y, float below) { return sky(scene, palette, x, y, y - below); }, [](float) { return 1.0F; });
  paint_skyline(scene, palette, canvas);
  paint_pixels(
      scene, canvas, [](float below) { return below > -0.5F; },
      [&](float x, float y, float below) {
        const LandPoint point{x, y, std::max(below, 0.0F) / depth};
        const Colour colour = land(scene, palette, point);
        if (scene.weather != Weather::kMisty || scene.place == Place::kTable) return colour;
        return mix(colour, palette.horizon, 0.6F * (1 - clamp01(point.nearness * 1.6F)));
      },
      [](float below) { return clamp01(below + 0.5F); });
}

}  // namespace cskd::demo
