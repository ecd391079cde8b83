#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <numeric>

#include "metrics/metrics.h"
#include "runtime/check.h"

namespace cskd::metrics {
namespace {

constexpr double kUndefined = std::numeric_limits<double>::quiet_NaN();

void require_pairs(std::span<const double> x, std::span<const double> y) {
  CSKD_CHECK(x.size() == y.size() && x.size() >= 2, "correlation of {} and {} values", x.size(), y.size());
}

// Ranks from 1; equal values share the mean of their ranks.
std::vector<double> ranks_of(std::span<const double> values) {
  std::vector<size_t> order(values.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return values[a] < values[b]; });
  std::vector<double> ranks(values.size());
  for (size_t first = 0; first < order.size();) {
    size_t end = first + 1;
    while (end < order.size() && values[order[end]] == values[order[first]]) ++end;
    const double rank = static_cast<double>(first + 1 + end) / 2;
    for (size_t i = first; i < end; ++i) ranks[order[i]] = rank;
    first = end;
  }
  return ranks;
}

// Sorts and returns how many pairs were in the wrong order (merge sort).
std::int64_t count_inversions(std::vector<double>& values, std::vector<double>& buffer, size_t first, size_t end) {
  if (end - first < 2) return 0;
  const size_t middle = first + (end - first) / 2;
  std::int64_t inversions =
      count_inversions(values, buffer, first, middle) + count_inversions(values, buffer, middle, end);
  size_t left = first;
  size_t right = middle;
  for (size_t at = first; at < end; ++at) {
    const bool take_left = right == end || (left < middle && values[left] <= values[right]);
    if (!take_left) inversions += static_cast<std::int64_t>(middle - left);
    buffer[at] = values[take_left ? left++ : right++];
  }
  std::copy(buffer.begin() + static_cast<std::ptrdiff_t>(first), buffer.begin() + static_cast<std::ptrdiff_t>(end),
            values.begin() + static_cast<std::ptrdiff_t>(first));
  return inversions;
}

// Pairs of equal neighbours in a sorted order: sum of t (t - 1) / 2 over runs.
template <typename Equal>
std::int64_t tied_pairs(size_t count, Equal equal) {
  std::int64_t pairs = 0;
  for (size_t first = 0; first < count;) {
    size_t end = first + 1;
    while (end < count && equal(first, end)) ++end;
    const auto run = static_cast<std::int64_t>(end - first);
    pairs += run * (run - 1) / 2;
    first = end;
  }
  return pairs;
}

}  // namespace

double pearson(std::span<const double> x, std::span<const double> y) {
  require_pairs(x, y);
  const auto n = static_cast<double>(x.size());
  const double mean_x = std::accumulate(x.begin(), x.end(), 0.0) / n;
  const double mean_y = std::accumulate(y.begin(), y.end(), 0.0) / n;
  double xx = 0;
  double yy = 0;
  double xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    xx += (x[i] - mean_x) * (x[i] - mean_x);
    yy += (y[i] - mean_y) * (y[i] - mean_y);
    xy += (x[i] - mean_x) * (y[i] - mean_y);
  }
  if (xx <= 0 || yy <= 0) return kUndefined;
  return std::clamp(xy / std::sqrt(xx * yy), -1.0, 1.0);
}

double spearman(std::span<const double> x, std::span<const double> y) {
  require_pairs(x, y);
  return pearson(ranks_of(x), ranks_of(y));
}

// Knight, "A Computer Method for Calculating Kendall's Tau with Ungrouped Data", 1966.
double kendall_tau_b(std::span<const double> x, std::span<const double> y) {
  require_pairs(x, y);
  std::vector<size_t> order(x.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::sort(order.begin(), order.end(), [&](size_t a, size_t b) { return x[a] != x[b] ? x[a] < x[b] : y[a] < y[b]; });
  std::vector<double> sorted_y;
  sorted_y.reserve(order.size());
  for (const size_t i : order) sorted_y.push_back(y[i]);
  const std::int64_t ties_x = tied_pairs(order.size(), [&](size_t a, size_t b) { return x[order[a]] == x[order[b]]; });
  const std::int64_t ties_both = tied_pairs(
      order.size(), [&](size_t a, size_t b) { return x[order[a]] == x[order[b]] && sorted_y[a] == sorted_y[b]; });
  std::vector<double> buffer(sorted_y.size());
  const std::int64_t discordant = count_inversions(sorted_y, buffer, 0, sorted_y.size());
  const std::int64_t ties_y =
      tied_pairs(sorted_y.size(), [&](size_t a, size_t b) { return sorted_y[a] == sorted_y[b]; });
  const auto n = static_cast<std::int64_t>(x.size());
  const std::int64_t pairs = n * (n - 1) / 2;
  if (ties_x == pairs || ties_y == pairs) return kUndefined;
  const auto difference = static_cast<double>(pairs - ties_x - ties_y + ties_both - 2 * discordant);
  return difference / std::sqrt(static_cast<double>(pairs - ties_x)) / std::sqrt(static_cast<double>(pairs - ties_y));
}

}  // namespace cskd::metrics
