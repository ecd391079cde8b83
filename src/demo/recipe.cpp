#include "demo/recipe.h"

#include "demo/renderer.h"
#include "runtime/check.h"
#include "runtime/philox.h"

namespace cskd::demo {
namespace {

constexpr std::uint32_t kGarbageStream = 0x6A5B0000;

std::string garbage(const Recipe& recipe, std::uint64_t seed) {
  runtime::Philox random(seed, kGarbageStream + recipe.source, recipe.item);
  std::string bytes(5000, '\0');
  for (char& byte : bytes) byte = static_cast<char>(random());
  return bytes;
}

std::string encode(const Recipe& recipe, const Picture& picture) {
  switch (recipe.format) {
    case Format::kJpeg:
      return encode_jpeg(picture, recipe.jpeg);
    case Format::kPng:
      return encode_png(picture);
    case Format::kWebp:
      return encode_webp(picture, recipe.webp_quality);
  }
  CSKD_CHECK(false, "format {}", static_cast<int>(recipe.format));
}

}  // namespace

std::string make_file(const Recipe& recipe, const Style& style, std::uint64_t seed) {
  if (recipe.damage == Damage::kEmpty) return "";
  if (recipe.damage == Damage::kGarbage) return garbage(recipe, seed);
  if (recipe.damage == Damage::kHugeHeader) return png_with_header(60'000, 60'000);
  Picture picture = render(draw_scene(seed, recipe.source, recipe.item, style));
  if (recipe.shrink < 1) picture = shrink(picture, recipe.shrink);
  if (recipe.jpeg.orientation > 1) picture = stored_for_orientation(picture, recipe.jpeg.orientation);
  std::string bytes = encode(recipe, picture);
  if (recipe.damage == Damage::kTruncated) bytes.resize(bytes.size() * 6 / 10);
  return bytes;
}

}  // namespace cskd::demo
