// The recipe of one image file of the corpus: everything about a file follows from its recipe and the corpus's seed, so
// that any rank and any thread can make it, and a duplicate is simply the same recipe under another name.
#pragma once

#include <cstdint>
#include <string>

#include "demo/image_writer.h"
#include "demo/scene.h"

namespace cskd::demo {

enum class Format { kJpeg, kPng, kWebp };

enum class Damage {
  kNone,
  kTruncated,   // the first 60 % of the bytes
  kEmpty,       // no byte at all
  kGarbage,     // 5,000 random bytes
  kHugeHeader,  // a PNG that promises 60,000 x 60,000 pixels
};

struct Recipe {
  std::uint32_t source = 0;  // whose style and numbers draw the scene
  std::uint64_t item = 0;
  Format format = Format::kJpeg;
  JpegOptions jpeg;  // orientation: the pixels are stored so that they are upright once it is applied
  int webp_quality = 85;
  double shrink = 1;
  Damage damage = Damage::kNone;
};

// The bytes of the file. `style` is that of the recipe's source.
std::string make_file(const Recipe& recipe, const Style& style, std::uint64_t seed);

}  // namespace cskd::demo
