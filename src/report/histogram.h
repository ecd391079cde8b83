// Histograms of the values of a tensor.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

namespace cskd::report {

// The figures of TensorBoard's HistogramProto.
struct Histogram {
  double min = 0;
  double max = 0;
  double count = 0;
  double sum = 0;
  double sum_squares = 0;
  std::vector<double> bucket_limits;  // right ends, ascending; the first bucket begins at min, the last ends at max
  std::vector<double> bucket_counts;
  std::uint64_t non_finite = 0;  // NaNs and infinities, left out of everything above
};

constexpr std::size_t kHistogramBuckets = 64;

// kHistogramBuckets equal buckets between the smallest and the largest finite value; one when they are equal, none when
// there is none.
Histogram make_histogram(std::span<const float> values);

}  // namespace cskd::report
