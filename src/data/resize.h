// Antialiased resampling in fixed point, bit for bit as Pillow's Image.resize(size, filter, box=...): 22-bit
// coefficients, horizontal pass first, uint8 in between.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>

#include "data/image.h"

namespace cskd::data {

enum class Filter : std::uint8_t { kBilinear = 1, kBicubic = 2 };  // stored in feature caches; bicubic has a = -0.5

// How exactly. Both are the same on every processor.
enum class ResizeMode : std::uint8_t {
  kExact = 1,  // bit for bit as Pillow
  // Coefficients of 16 bits, where a picture does not become more than 16 times smaller: no sample is more than 2 of
  // 255 levels away from kExact.
  kFast = 2,
};

// What becomes of a picture: `box` of its width x height pixels at target_width x target_height.
struct ResizePlan {
  int width = 0;
  int height = 0;
  Rectangle box;
  int target_width = 0;
  int target_height = 0;
  Filter filter = Filter::kBicubic;
  ResizeMode mode = ResizeMode::kExact;
  bool mirrored = false;  // left to right, after resizing
};

// A resize that takes rows while a decoder delivers them, so that they need no memory and are still in the cache.
class StripResizer {
 public:
  static constexpr int kStrip = 4;             // rows at a time
  static constexpr std::size_t kPadding = 15;  // bytes behind a strip's row that may be read, whatever they are

  // Writes to `target` [target_height, target_width, 3], which must outlive it. REQUIRES: the box lies inside the
  // picture; sizes >= 1
  StripResizer(const ResizePlan& plan, std::span<std::uint8_t> target);
  ~StripResizer();
  StripResizer(const StripResizer&) = delete;
  StripResizer& operator=(const StripResizer&) = delete;

  // The part of the picture that is needed.
  const Box& source() const noexcept { return source_; }
  // The next `count` rows of source(), RGBX (the fourth byte means nothing), that lie `pitch` bytes apart.
  // REQUIRES: count == kStrip, or what is left
  void take(int count, const std::uint8_t* rows, std::size_t pitch);

 private:
  struct Passes;

  Box source_;
  std::span<std::uint8_t> target_;
  int taken_ = 0;    // rows
  int written_ = 0;  // rows of the target
  std::unique_ptr<Passes> passes_;
};

// `box` of `image` at width x height. REQUIRES: as StripResizer. Thread-safe.
Image resize(const Image& image, const Box& box, int width, int height, Filter filter,
             ResizeMode mode = ResizeMode::kExact);
// All that the plan says; `image` is the picture it names.
void resize(const Image& image, const ResizePlan& plan, std::span<std::uint8_t> target);

}  // namespace cskd::data
