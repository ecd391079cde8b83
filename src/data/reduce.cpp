#include "data/reduce.h"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <vector>

#include "runtime/check.h"

namespace cskd::data {
namespace {

// So many numbers at a time, in one register or two.
constexpr std::size_t kWide = 16;
using Bytes [[gnu::vector_size(kWide)]] = std::uint8_t;
using Words [[gnu::vector_size(2 * kWide)]] = std::uint16_t;

// Sums of `count` rows of bytes that lie `stride` apart: to[i] = from[i] + from[i + stride] + ...
[[gnu::always_inline]] inline void sum_rows(const std::uint8_t* from, std::size_t stride, int count,
                                            std::uint16_t* to) {
  std::size_t i = 0;
  for (; i + kWide <= stride; i += kWide) {
    Words sums{};
    for (int row = 0; row < count; ++row) {
      Bytes bytes;
      std::memcpy(&bytes, from + static_cast<std::size_t>(row) * stride + i, sizeof bytes);
      sums += __builtin_convertvector(bytes, Words);
    }
    std::memcpy(to + i, &sums, sizeof sums);
  }
  for (; i < stride; ++i) {
    unsigned sum = 0;
    for (int row = 0; row < count; ++row) sum += from[static_cast<std::size_t>(row) * stride + i];
    to[i] = static_cast<std::uint16_t>(sum);
  }
}

// Sums of `count` neighbouring pixels, three numbers each: to[i] = from[i] + from[i + 3] + ...
[[gnu::always_inline]] inline void sum_neighbours(const std::uint16_t* from, int count, std::size_t size,
                                                  std::uint16_t* to) {
  for (std::size_t i = 0; i < size; i += kWide) {
    Words sums{};
    for (int pixel = 0; pixel < count; ++pixel) {
      Words words;
      std::memcpy(&words, from + i + std::ptrdiff_t{3} * pixel, sizeof words);
      sums += words;
    }
    std::memcpy(to + i, &sums, sizeof sums);
  }
}

// Every factor-th pixel of the sums, one after the other.
[[gnu::always_inline]] inline void pick(const std::uint16_t* from, int factor, int pixels, std::uint16_t* to) {
  for (int x = 0; x < pixels; ++x, to += 3, from += std::ptrdiff_t{3} * factor) {
    std::uint64_t pixel = 0;  // three numbers, and one that the next pixel overwrites
    std::memcpy(&pixel, from, sizeof pixel);
    std::memcpy(to, &pixel, sizeof pixel);
  }
}

// Rounded means of `count` bytes each, from their sums. No sum plus 1/2 is nearer to a multiple of `count` than 1/2,
// which is far more than floats of this size lose: rounding down is exact.
[[gnu::always_inline]] inline void divide(const std::uint16_t* sums, int count, std::size_t size, std::uint8_t* to) {
  const int half = count / 2;
  const float offset = 0.5F + static_cast<float>(half);
  const float inverse = 1 / static_cast<float>(count);
  for (std::size_t i = 0; i < size; ++i)
    to[i] = static_cast<std::uint8_t>(static_cast<std::int32_t>((static_cast<float>(sums[i]) + offset) * inverse));
}

// Means of squares of `rows` x `factor` pixels of `from`, of which a row has `width`. Buffers hold kWide numbers more
// than are in a row, `columns` 3 * kMostReduction; what lies behind its last pixel is zero.
struct Strip {
  const std::uint8_t* from = nullptr;
  int width = 0;
  int rows = 0;
  int factor = 0;
  std::uint16_t* columns = nullptr;
  std::uint16_t* squares = nullptr;
  std::uint8_t* to = nullptr;
};
using ReduceStrip = void (*)(const Strip&);

[[gnu::always_inline]] inline void reduce_any_strip(const Strip& strip) {
  const std::size_t row_bytes = std::size_t{3} * static_cast<std::size_t>(strip.width);
  const int reduced = (strip.width + strip.factor - 1) / strip.factor;
  const int last_columns = strip.width - strip.factor * (reduced - 1);
  const std::size_t full = std::size_t{3} * static_cast<std::size_t>(reduced - 1);
  sum_rows(strip.from, row_bytes, strip.rows, strip.columns);
  sum_neighbours(strip.columns, strip.factor, row_bytes, strip.squares);
  pick(strip.squares, strip.factor, reduced, strip.columns);
  divide(strip.columns, strip.rows * strip.factor, full, strip.to);
  divide(strip.columns + full, strip.rows * last_columns, 3, strip.to + full);
  // The next strip finds zeros again.
  std::fill_n(strip.columns + row_bytes, 3 * kMostReduction, std::uint16_t{0});
}

void reduce_strip(const Strip& strip) { reduce_any_strip(strip); }

#if defined(__x86_64__)
__attribute__((target("avx2"))) void reduce_strip_avx2(const Strip& strip) { reduce_any_strip(strip); }
#endif

ReduceStrip fastest_reduce_strip() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx2") != 0) return reduce_strip_avx2;
#endif
  return reduce_strip;
}

}  // namespace

RowReducer::RowReducer(int width, int factor) : width_(width), factor_(factor) {
  CSKD_CHECK(factor >= 1 && factor <= kMostReduction, "factor {}", factor);
  const std::size_t row_bytes = std::size_t{3} * static_cast<std::size_t>(width);
  columns_.resize(row_bytes + kWide + std::size_t{3} * kMostReduction);
  squares_.resize(row_bytes + kWide);
}

void RowReducer::reduce(const std::uint8_t* rows, int count, std::uint8_t* to) {
  static const ReduceStrip kReduceStrip = fastest_reduce_strip();
  const std::size_t row_bytes = std::size_t{3} * static_cast<std::size_t>(width_);
  for (int first = 0; first < count; first += factor_) {
    kReduceStrip({.from = rows + row_bytes * static_cast<std::size_t>(first),
                  .width = width_,
                  .rows = std::min(factor_, count - first),
                  .factor = factor_,
                  .columns = columns_.data(),
                  .squares = squares_.data(),
                  .to = to});
    to += std::size_t{3} * static_cast<std::size_t>(width());
  }
}

Image reduce(const Image& image, int factor) {
  RowReducer reducer(image.width, factor);
  Image reduced{reducer.width(), (image.height + factor - 1) / factor, {}};
  reduced.rgb.resize(std::size_t{3} * static_cast<std::size_t>(reduced.width) *
                     static_cast<std::size_t>(reduced.height));
  reducer.reduce(image.rgb.data(), image.height, reduced.rgb.data());
  return reduced;
}

}  // namespace cskd::data
