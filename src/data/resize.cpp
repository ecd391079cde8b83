#include "data/resize.h"

#include <algorithm>
#include <cstring>

#include "data/resize_axis.h"
#include "data/resize_loops.h"
#include "runtime/check.h"

namespace cskd::data {
namespace {

// As resize_loops.h lays rows out. Where there are fewer than kRowsAtOnce, the last one is repeated.
void lay_side_by_side(const Image& image, int first_row, int rows, int first_column, int columns, std::uint8_t* to) {
  for (int r = 0; r < kRowsAtOnce; ++r) {
    const std::uint8_t* from = image.row(first_row + std::min(r, rows - 1)) + std::ptrdiff_t{3} * first_column;
    std::uint8_t* pixel = to + std::ptrdiff_t{4} * r;
    // Four bytes at a time, but for the last pixel, after which the image may end.
    for (int x = 0; x + 1 < columns; ++x, from += 3, pixel += kColumnBytes) std::memcpy(pixel, from, 4);
    std::memcpy(pixel, from, 3);
  }
}

template <typename Coefficient>
ResizeLoopsOf<Coefficient> loops_of() {
  if constexpr (sizeof(Coefficient) == 4) return fastest_resize_loops();
  if constexpr (sizeof(Coefficient) == 2) return fastest_fast_resize_loops();
}

// Rows [first_row, first_row + rows) of the image at the width of the axis.
template <typename Coefficient>
Image resize_rows(const Image& image, int first_row, int rows, const AxisOf<Coefficient>& axis) {
  static const auto loops = loops_of<Coefficient>();
  const auto width = static_cast<int>(axis.windows.size());
  Image result{width, rows, {}};
  result.rgb.resize(std::size_t{3} * axis.windows.size() * static_cast<std::size_t>(rows));
  // Windows move to the right only, so that the outermost two hold every column.
  const int origin = axis.windows.front().first;
  const int columns = axis.windows.back().first + axis.windows.back().count - origin;
  std::vector<std::uint8_t> wide(std::size_t{kColumnBytes} * static_cast<std::size_t>(columns + 1));
  std::vector<std::uint8_t> narrow(std::size_t{kColumnBytes} * axis.windows.size());
  for (int y = 0; y < rows; y += kRowsAtOnce) {
    const int count = std::min(kRowsAtOnce, rows - y);
    lay_side_by_side(image, first_row + y, count, origin, columns, wide.data());
    loops.columns(wide.data(), origin, axis, width, narrow.data());
    for (int r = 0; r < count; ++r) {
      const std::uint8_t* from = narrow.data() + std::ptrdiff_t{4} * r;
      std::uint8_t* to = result.row(y + r);
      for (int x = 0; x < width; ++x, from += kColumnBytes, to += 3) std::memcpy(to, from, 3);
    }
  }
  return result;
}

// The height of the axis; row 0 of the image is what the axis counts as `origin`.
template <typename Coefficient>
Image resize_columns(const Image& image, int origin, const AxisOf<Coefficient>& axis) {
  static const auto loops = loops_of<Coefficient>();
  const std::size_t row_bytes = std::size_t{3} * static_cast<std::size_t>(image.width);
  Image result{image.width, static_cast<int>(axis.windows.size()), {}};
  result.rgb.resize(row_bytes * axis.windows.size());
  for (int y = 0; y < result.height; ++y) {
    const auto [first, count] = axis.windows[static_cast<std::size_t>(y)];
    loops.rows(image.row(first - origin), axis.of(y), count, row_bytes, result.row(y));
  }
  return result;
}

// Null: that side stays as it is.
template <typename Coefficient>
Image resize_along(const Image& image, const AxisOf<Coefficient>* horizontal, const AxisOf<Coefficient>* vertical) {
  if (vertical == nullptr) return resize_rows(image, 0, image.height, *horizontal);
  if (horizontal == nullptr) return resize_columns(image, 0, *vertical);
  const int first_row = vertical->windows.front().first;
  const int rows = vertical->windows.back().first + vertical->windows.back().count - first_row;
  return resize_columns(resize_rows(image, first_row, rows, *horizontal), first_row, *vertical);
}

}  // namespace

Image resize(const Image& image, const Rectangle& box, int width, int height, Filter filter, ResizeMode mode) {
  CSKD_CHECK(box.x >= 0 && box.y >= 0 && box.width > 0 && box.height > 0 && box.width <= image.width - box.x &&
                 box.height <= image.height - box.y && width >= 1 && height >= 1,
             "box {} {} {} {} of {} x {} pixels at {} x {}", box.x, box.y, box.width, box.height, image.width,
             image.height, width, height);
  // A pass that would copy is left out, as in Pillow. A box of the same size somewhere else needs both: it is cut out
  // by windows of one sample.
  const bool change_width = width != image.width || box.x != 0 || box.width != width;
  const bool change_height = height != image.height || box.y != 0 || box.height != height;
  if (!change_width && !change_height) return image;
  const Axis horizontal = make_axis(image.width, box.x, box.width, width, filter);
  const Axis vertical = make_axis(image.height, box.y, box.height, height, filter);
  const auto along = [&](const auto& x, const auto& y) {
    return resize_along(image, change_width ? &x : nullptr, change_height ? &y : nullptr);
  };
  constexpr double kMostFastScale = 16;
  const bool is_far = box.width > kMostFastScale * width || box.height > kMostFastScale * height;
  if (mode == ResizeMode::kExact || is_far) return along(horizontal, vertical);
  return along(fast_axis(horizontal), fast_axis(vertical));
}

Image resize(const Image& image, const Box& box, int width, int height, Filter filter) {
  const Rectangle exactly{static_cast<double>(box.x), static_cast<double>(box.y), static_cast<double>(box.width),
                          static_cast<double>(box.height)};
  return resize(image, exactly, width, height, filter, ResizeMode::kExact);
}

void flip_horizontally(Image& image) {
  for (int y = 0; y < image.height; ++y) {
    std::uint8_t* left = image.row(y);
    std::uint8_t* right = left + std::ptrdiff_t{3} * (image.width - 1);
    for (; left < right; left += 3, right -= 3) std::swap_ranges(left, left + 3, right);
  }
}

}  // namespace cskd::data
