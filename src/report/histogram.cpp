#include "report/histogram.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace cskd::report {

Histogram make_histogram(std::span<const float> values) {
  Histogram histogram;
  float smallest = std::numeric_limits<float>::infinity();
  float largest = -smallest;
  for (const float value : values) {
    if (!std::isfinite(value)) {
      ++histogram.non_finite;
      continue;
    }
    smallest = std::min(smallest, value);
    largest = std::max(largest, value);
    histogram.sum += value;
    histogram.sum_squares += static_cast<double>(value) * value;
  }
  const std::uint64_t count = values.size() - histogram.non_finite;
  if (count == 0) return histogram;
  histogram.min = smallest;
  histogram.max = largest;
  histogram.count = static_cast<double>(count);
  const std::size_t buckets = smallest == largest ? 1 : kHistogramBuckets;
  const double width = (histogram.max - histogram.min) / static_cast<double>(buckets);
  for (std::size_t i = 1; i < buckets; ++i)
    histogram.bucket_limits.push_back(histogram.min + width * static_cast<double>(i));
  histogram.bucket_limits.push_back(histogram.max);
  histogram.bucket_counts.assign(buckets, 0);
  for (const float value : values) {
    if (!std::isfinite(value)) continue;
    const auto bucket = buckets == 1 ? 0 : static_cast<std::size_t>((value - histogram.min) / width);
    ++histogram.bucket_counts[std::min(bucket, buckets - 1)];
  }
  return histogram;
}

}  // namespace cskd::report
