#include "data/resize.h"

#include <algorithm>
#include <cstring>

#include "data/resize_axis.h"
#include "data/resize_loops.h"
#include "runtime/check.h"

namespace cskd::data {
namespace {

TapAxis taps_of(int source, double start, double length, int target, const ResizePlan& plan, bool mirrored) {
  constexpr double kMostFastScale = 16;
  const bool is_far =
      plan.box.width > kMostFastScale * plan.target_width || plan.box.height > kMostFastScale * plan.target_height;
  return make_taps(make_axis(source, start, length, target, plan.filter), is_far ? ResizeMode::kExact : plan.mode,
                   mirrored);
}

const ResizeLoops& fastest_loops() {
  static const ResizeLoops loops = resize_loops().back();
  return loops;
}

std::unique_ptr<std::uint16_t[]> words(std::size_t count) {
  return std::make_unique_for_overwrite<std::uint16_t[]>(count);
}

}  // namespace

struct StripResizer::Passes {
  const ResizeLoops& loops;
  TapAxis horizontal;
  TapAxis vertical;
  std::size_t samples = 0;  // of a row of the result
  std::size_t pitch = 0;    // words of a row of pairs
  std::unique_ptr<std::uint16_t[]> laid;
  std::unique_ptr<std::uint16_t[]> narrow;  // all pairs of rows from vertical.first_pair() on

  explicit Passes(const ResizePlan& plan)
      : loops(fastest_loops()),
        horizontal(taps_of(plan.width, plan.box.x, plan.box.width, plan.target_width, plan, plan.mirrored)),
        vertical(taps_of(plan.height, plan.box.y, plan.box.height, plan.target_height, plan, false)),
        samples(std::size_t{3} * static_cast<std::size_t>(plan.target_width)),
        pitch(2 * samples + 2) {
    const auto columns = static_cast<std::size_t>(horizontal.end_pair() - horizontal.first_pair());
    laid = words(kPairWords * (columns + 1));
    // Strips are of two pairs.
    const auto rows = static_cast<std::size_t>(vertical.end_pair() - vertical.first_pair());
    narrow = words(pitch * (rows + 1));
  }

  std::uint16_t* pair(int number) {
    return narrow.get() + pitch * static_cast<std::size_t>(number - vertical.first_pair());
  }
};

StripResizer::StripResizer(const ResizePlan& plan, std::span<std::uint8_t> target) : target_(target) {
  const Rectangle& box = plan.box;
  CSKD_CHECK(box.x >= 0 && box.y >= 0 && box.width > 0 && box.height > 0 && box.width <= plan.width - box.x &&
                 box.height <= plan.height - box.y && plan.target_width >= 1 && plan.target_height >= 1,
             "box {} {} {} {} of {} x {} pixels at {} x {}", box.x, box.y, box.width, box.height, plan.width,
             plan.height, plan.target_width, plan.target_height);
  passes_ = std::make_unique<Passes>(plan);
  CSKD_CHECK(target.size() == passes_->samples * static_cast<std::size_t>(plan.target_height),
             "{} bytes for {} x {} pixels", target.size(), plan.target_width, plan.target_height);
  const int left = 2 * passes_->horizontal.first_pair();
  const int top = 2 * passes_->vertical.first_pair();
  source_ = {left, top, std::min(plan.width, 2 * passes_->horizontal.end_pair()) - left,
             std::min(plan.height, 2 * passes_->vertical.end_pair()) - top};
}

StripResizer::~StripResizer() = default;

void StripResizer::take(int count, const std::uint8_t* rows, std::size_t pitch) {
  CSKD_CHECK(count == std::min(kStrip, source_.height - taken_), "{} rows after {} of {}", count, taken_,
             source_.height);
  static_assert(kStrip == kRowsAtOnce);
  // Where there are fewer, the last one stands in: none of its products counts.
  const std::uint8_t* strip[kStrip];
  for (int r = 0; r < kStrip; ++r) strip[r] = rows + pitch * static_cast<std::size_t>(std::min(r, count - 1));
  Passes& passes = *passes_;
  passes.loops.lay(strip, source_.width, passes.laid.get());
  const int pair = (source_.y + taken_) / 2;
  passes.loops.columns(passes.laid.get(), passes.horizontal.first_pair(), passes.horizontal, passes.pair(pair),
                       passes.pair(pair + 1));
  taken_ += count;

  const int done = taken_ == source_.height ? passes.vertical.end_pair() : (source_.y + taken_) / 2;
  for (; static_cast<std::size_t>(written_) < passes.vertical.windows.size(); ++written_) {
    const auto row = static_cast<std::size_t>(written_);
    const int first = passes.vertical.windows[row];
    if (first + passes.vertical.count > done) return;
    passes.loops.rows(passes.pair(first), passes.pitch, passes.vertical, row, passes.samples,
                      target_.data() + passes.samples * row);
  }
}

void resize(const Image& image, const ResizePlan& plan, std::span<std::uint8_t> target) {
  CSKD_CHECK(image.width == plan.width && image.height == plan.height, "{} x {} pixels, {} x {} are planned",
             image.width, image.height, plan.width, plan.height);
  StripResizer resizer(plan, target);
  const Box& source = resizer.source();
  const std::size_t pitch = std::size_t{4} * static_cast<std::size_t>(source.width) + StripResizer::kPadding;
  std::vector<std::uint8_t> strip(StripResizer::kStrip * pitch);
  for (int y = 0; y < source.height; y += StripResizer::kStrip) {
    const int count = std::min(StripResizer::kStrip, source.height - y);
    for (int r = 0; r < count; ++r) {
      const std::uint8_t* from = image.row(source.y + y + r) + std::ptrdiff_t{3} * source.x;
      std::uint8_t* to = strip.data() + pitch * static_cast<std::size_t>(r);
      // Four bytes at a time, but for the last pixel, after which the image may end.
      for (int x = 0; x + 1 < source.width; ++x, from += 3, to += 4) std::memcpy(to, from, 4);
      std::memcpy(to, from, 3);
    }
    resizer.take(count, strip.data(), pitch);
  }
}

Image resize(const Image& image, const Box& box, int width, int height, Filter filter, ResizeMode mode) {
  const ResizePlan plan{.width = image.width,
                        .height = image.height,
                        .box = {static_cast<double>(box.x), static_cast<double>(box.y), static_cast<double>(box.width),
                                static_cast<double>(box.height)},
                        .target_width = width,
                        .target_height = height,
                        .filter = filter,
                        .mode = mode};
  CSKD_CHECK(width >= 1 && height >= 1, "{} x {} pixels", width, height);
  Image result{width, height, {}};
  result.rgb.resize(std::size_t{3} * static_cast<std::size_t>(width) * static_cast<std::size_t>(height));
  resize(image, plan, result.rgb);
  return result;
}

}  // namespace cskd::data
