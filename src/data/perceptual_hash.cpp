#include "data/perceptual_hash.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdlib>
#include <numbers>
#include <vector>

#include "data/resize.h"

namespace cskd::data {
namespace {

constexpr int kSide = 32;
constexpr int kFrequencies = 8;

// Cosines in fixed point make the coefficients whole numbers: those of an even picture are exactly equal, and the hash
// is the same on every machine. 255 * 32 * 2^20 squared along both axes stays below 2^63.
constexpr double kOne = 1 << 20;

using Basis = std::array<std::array<std::int64_t, kSide>, kFrequencies>;

Basis make_basis() {
  Basis basis{};
  for (int k = 0; k < kFrequencies; ++k) {
    for (int x = 0; x < kSide; ++x) {
      const double angle = std::numbers::pi * k * (2 * x + 1) / (2 * kSide);
      basis[k][x] = std::llround(kOne * std::cos(angle));
    }
  }
  return basis;
}

// ITU-R BT.601 luma in 16-bit fixed point, as Pillow's convert("L").
std::int64_t luma(const std::uint8_t* rgb) { return (19595 * rgb[0] + 38470 * rgb[1] + 7471 * rgb[2] + 0x8000) >> 16; }

// A resize that reads every pixel costs a third of decoding. Means of whole squares cost little, and from at least
// kReducedSide pixels a side the resize gives nearly the same.
constexpr int kReducedSide = 96;

int factor_of(int width, int height) { return std::clamp(std::min(width, height) / kReducedSide, 1, kMostReduction); }

Image shrink(const Image& image) {
  const int factor = factor_of(image.width, image.height);
  if (factor >= 2) return shrink(reduce(image, factor));
  return resize(image, {0, 0, image.width, image.height}, kSide, kSide, Filter::kBilinear);
}

std::uint64_t hash_of_small(const Image& small) {
  static const Basis basis = make_basis();
  std::array<std::array<std::int64_t, kFrequencies>, kSide> rows{};
  for (int y = 0; y < kSide; ++y) {
    for (int x = 0; x < kSide; ++x) {
      const std::int64_t grey = luma(small.row(y) + std::ptrdiff_t{3} * x);
      for (int u = 0; u < kFrequencies; ++u) rows[y][u] += grey * basis[u][x];
    }
  }
  std::array<std::int64_t, std::size_t{kFrequencies} * kFrequencies> coefficients{};
  for (int v = 0; v < kFrequencies; ++v) {
    for (int y = 0; y < kSide; ++y) {
      for (int u = 0; u < kFrequencies; ++u)
        coefficients[std::size_t{kFrequencies} * v + u] += rows[y][u] * basis[v][y];
    }
  }

  std::vector<std::int64_t> sorted(coefficients.begin() + 1, coefficients.end());
  const auto middle = sorted.begin() + static_cast<std::ptrdiff_t>(sorted.size() / 2);
  std::nth_element(sorted.begin(), middle, sorted.end());
  std::uint64_t hash = 0;
  for (std::size_t i = 0; i < coefficients.size(); ++i) {
    if (coefficients[i] > *middle) hash |= std::uint64_t{1} << i;
  }
  return hash;
}

shards::Thumbnail thumbnail_of_small(const Image& small) {
  constexpr int kBlock = 4;
  constexpr int kCells = kSide / kBlock;
  shards::Thumbnail thumbnail;
  auto next = thumbnail.begin();
  for (int y = 0; y < kCells; ++y) {
    for (int x = 0; x < kCells; ++x) {
      for (int channel = 0; channel < 3; ++channel) {
        int sum = kBlock * kBlock / 2;
        for (int row = 0; row < kBlock; ++row) {
          const std::uint8_t* from = small.row(kBlock * y + row) + std::ptrdiff_t{3} * kBlock * x + channel;
          for (int column = 0; column < kBlock; ++column, from += 3) sum += *from;
        }
        *next++ = static_cast<std::uint8_t>(sum / (kBlock * kBlock));
      }
    }
  }
  return thumbnail;
}

}  // namespace

std::uint64_t perceptual_hash(const Image& image) { return hash_of_small(shrink(image)); }

Appearance appearance_of(const Image& image) {
  const Image small = shrink(image);
  return {hash_of_small(small), thumbnail_of_small(small)};
}

RowAppearance::RowAppearance(int width, int height)
    : factor_(factor_of(width, height)),
      strip_(std::max(1, 32 / factor_) * factor_),
      reducer_(width, factor_),
      reduced_{reducer_.width(), (height + factor_ - 1) / factor_, {}} {
  reduced_.rgb.resize(std::size_t{3} * static_cast<std::size_t>(reduced_.width) *
                      static_cast<std::size_t>(reduced_.height));
}

void RowAppearance::add(const std::uint8_t* rows, int count) {
  reducer_.reduce(rows, count, reduced_.row(rows_));
  rows_ += (count + factor_ - 1) / factor_;
}

bool are_alike(const shards::Thumbnail& a, const shards::Thumbnail& b, int most_difference) {
  int difference = 0;
  for (std::size_t i = 0; i < a.size(); ++i) difference += std::abs(int{a[i]} - int{b[i]});
  return difference <= most_difference * static_cast<int>(a.size());
}

}  // namespace cskd::data
