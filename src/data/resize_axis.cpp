#include "data/resize_axis.h"

#include <algorithm>
#include <cmath>

namespace cskd::data {
namespace {

constexpr double kHalf = 0.5;

double bilinear(double x) {
  x = std::abs(x);
  return x < 1.0 ? 1.0 - x : 0.0;
}

// Keys, "Cubic Convolution Interpolation for Digital Image Processing", 1981.
double bicubic(double x) {
  constexpr double a = -0.5;
  x = std::abs(x);
  if (x < 1.0) return ((a + 2.0) * x - (a + 3.0)) * x * x + 1;
  if (x < 2.0) return (((x - 5) * x + 8) * x - 4) * a;
  return 0.0;
}

}  // namespace

Axis make_axis(int source, double start, double length, int target, Filter filter) {
  const auto kernel = filter == Filter::kBilinear ? bilinear : bicubic;
  const double scale = length / target;
  const double filter_scale = std::max(scale, 1.0);
  const double support = (filter == Filter::kBilinear ? 1.0 : 2.0) * filter_scale;
  const double inverse = 1.0 / filter_scale;

  Axis axis;
  axis.stride = static_cast<std::size_t>(std::ceil(support)) * 2 + 1;
  axis.windows.reserve(static_cast<std::size_t>(target));
  axis.coefficients.resize(static_cast<std::size_t>(target) * axis.stride);
  std::vector<double> weights(axis.stride);
  for (int i = 0; i < target; ++i) {
    const double centre = start + (i + 0.5) * scale;
    // Not lround, which differs where the sum is not exact.
    const int first = std::max(static_cast<int>(centre - support + kHalf), 0);
    const int count = std::min(static_cast<int>(centre + support + kHalf), source) - first;
    double sum = 0.0;
    for (int k = 0; k < count; ++k) {
      weights[k] = kernel((k + first - centre + 0.5) * inverse);
      sum += weights[k];
    }
    std::int32_t* coefficients = axis.coefficients.data() + axis.stride * static_cast<std::size_t>(i);
    for (int k = 0; k < count; ++k) {
      const double weight = sum != 0.0 ? weights[k] / sum : weights[k];
      coefficients[k] = static_cast<std::int32_t>((weight < 0 ? -0.5 : 0.5) + weight * (1 << kCoefficientBits));
    }
    axis.windows.push_back({first, count});
  }
  return axis;
}

TapAxis make_taps(const Axis& axis, ResizeMode mode, bool mirrored) {
  TapAxis result;
  result.parts = mode == ResizeMode::kExact ? 2 : 1;
  const auto parts = static_cast<std::size_t>(result.parts);
  const std::size_t size = axis.windows.size();
  const auto end_of = [](const Axis::Window& window) { return (window.first + window.count + 1) / 2; };
  for (const Axis::Window& window : axis.windows)
    result.count = std::max(result.count, end_of(window) - window.first / 2);
  result.windows.resize(size);
  result.taps.resize(2 * size * parts * static_cast<std::size_t>(result.count));
  // The last windows begin earlier than they need, instead of reaching beyond the end.
  const int last = end_of(axis.windows.back()) - result.count;
  for (std::size_t i = 0; i < size; ++i) {
    const auto [first, count] = axis.windows[i];
    const std::size_t place = mirrored ? size - 1 - i : i;
    result.windows[place] = std::min(first / 2, last);
    const std::int32_t* coefficients = axis.of(i);
    std::int16_t* taps = result.taps.data() + 2 * parts * static_cast<std::size_t>(result.count) * place;
    const auto offset = static_cast<std::size_t>(first - 2 * result.windows[place]);
    std::int64_t sum = 0;
    std::int64_t rounded_before = 0;
    for (std::size_t k = 0; k < static_cast<std::size_t>(count); ++k) {
      std::int16_t* tap = taps + 2 * parts * ((k + offset) / 2) + (k + offset) % 2;
      if (mode == ResizeMode::kExact) {
        tap[0] = static_cast<std::int16_t>(coefficients[k] >> kLowBits);
        tap[2] = static_cast<std::int16_t>(coefficients[k] & ((1 << kLowBits) - 1));
        continue;
      }
      // Sums are rounded, not single coefficients: errors do not add up.
      constexpr int kShift = kCoefficientBits - kFastCoefficientBits;
      sum += coefficients[k];
      const bool is_last = k + 1 == static_cast<std::size_t>(count);
      const std::int64_t rounded = is_last ? 1 << kFastCoefficientBits : (sum + (1 << (kShift - 1))) >> kShift;
      tap[0] = static_cast<std::int16_t>(rounded - rounded_before);
      rounded_before = rounded;
    }
  }
  return result;
}

int TapAxis::first_pair() const { return std::min(windows.front(), windows.back()); }

int TapAxis::end_pair() const { return std::max(windows.front(), windows.back()) + count; }

}  // namespace cskd::data
