#include "demo/renderer.h"

#include "demo/canvas.h"
#include "demo/noise.h"
#include "demo/objects.h"
#include "demo/surroundings.h"

namespace cskd::demo {
namespace {

// Exposure, contrast around middle grey, vignette, grain, and rounding to bytes.
Picture develop(const Scene& scene, const Canvas& canvas) {
  constexpr float kMiddle = 0.46F;
  const int width = canvas.width();
  const int height = canvas.height();
  // A stop doubles light; files store about its square root.
  const float gain = power_of_two(scene.exposure * 0.5F);
  const auto seed = static_cast<std::uint32_t>(scene.texture >> 16U) ^ 0xA5A5U;
  Picture picture{width, height,
                  std::vector<std::uint8_t>(static_cast<size_t>(width) * static_cast<size_t>(height) * 3)};
  std::uint8_t* out = picture.rgb.data();
  const float* planes[3] = {canvas.plane(0).data(), canvas.plane(1).data(), canvas.plane(2).data()};
  size_t i = 0;
  for (int y = 0; y < height; ++y) {
    const float v = (static_cast<float>(y) + 0.5F) / static_cast<float>(height) - 0.5F;
    for (int x = 0; x < width; ++x, ++i) {
      const float u = (static_cast<float>(x) + 0.5F) / static_cast<float>(width) - 0.5F;
      const float light = gain * (1 - scene.vignette * 2 * (u * u + v * v));
      // Two uniforms make grain that is near enough to a bell; it is the same in all channels but for a third of it.
      const std::uint32_t bits = lattice_hash(x, y, seed);
      const float grain =
          (static_cast<float>(bits & 0xFFU) + static_cast<float>(bits >> 8U & 0xFFU) - 255) / 104 * scene.noise;
      for (int c = 0; c < 3; ++c) {
        const float own =
            (static_cast<float>(bits >> (16U + 4U * static_cast<unsigned>(c)) & 0xFU) - 7.5F) / 8 * scene.noise;
        const float value = (planes[c][i] * light - kMiddle) * scene.contrast + kMiddle;
        *out++ = static_cast<std::uint8_t>(std::min(std::max(value * 255 + grain + 0.4F * own + 0.5F, 0.0F), 255.0F));
      }
    }
  }
  return picture;
}

}  // namespace

Picture render(const Scene& scene) {
  const auto height = static_cast<float>(scene.height);
  const Palette palette = palette_of(scene);
  Canvas canvas(scene.width, scene.height);
  paint_surroundings(scene, palette, canvas);
  for (const Object& object : scene.clutter) draw_object(object, scene, palette, /*detail=*/false, canvas);
  canvas.blur(scene.background_blur * height * 0.5F, canvas.whole());

  Canvas subject(scene.width, scene.height);
  draw_object(scene.subject, scene, palette, /*detail=*/true, subject);
  const float radius = scene.subject_blur * height * 0.5F;
  subject.blur(radius, box_of(scene.subject, scene, 2 * radius + 2));
  canvas.overlay(subject);
  return develop(scene, canvas);
}

}  // namespace cskd::demo
