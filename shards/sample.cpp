#include "shards/sample.h"

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include <fmt/format.h>

#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::shards {
namespace {

constexpr double kMeanTolerance = 1e-9;    // of the range
constexpr double kNarrowestStddev = 1e-4;  // of the narrowest gap between bins; below, two bins share the mean
constexpr int kMostSteps = 400;            // of the search for the location; about ten are usual

// exp(x^2) erfc(x) for x >= 0. From 10 on by its asymptotic series (DLMF 7.12.1), whose terms are below 1e-14 by then.
double scaled_erfc(double x) {
  if (x < 10) return std::exp(x * x) * std::erfc(x);
  const double step = -1 / (2 * x * x);
  double term = 1;
  double sum = 1;
  for (int k = 1; k <= 10; ++k) sum += term *= (2 * k - 1) * step;
  return sum / (x * std::sqrt(std::numbers::pi));
}

std::vector<double> edges_of(const std::vector<double>& centres) {
  std::vector<double> edges{centres[0] - (centres[1] - centres[0]) / 2};
  for (size_t i = 1; i < centres.size(); ++i) edges.push_back((centres[i - 1] + centres[i]) / 2);
  edges.push_back(2 * centres.back() - edges.back());
  return edges;
}

// Shares of the bins between the edges of the normal around `location`, cut off at the outer edges. Everything is
// relative to the density where it is greatest between them, so that a location far outside loses nothing to underflow.
std::vector<double> normal_shares(const std::vector<double>& edges, double location, double stddev) {
  const double top = std::clamp(location, edges.front(), edges.back());
  std::vector<double> tails;  // what lies beyond each edge, seen from the location; half the whole normal is 1
  for (const double edge : edges) {
    const double distance = (edge - location) / stddev;
    const double exponent = (edge - top) / stddev * (distance + (top - location) / stddev) / 2;
    tails.push_back(scaled_erfc(std::abs(distance) / std::numbers::sqrt2) * std::exp(-exponent));
  }
  std::vector<double> shares;
  for (size_t bin = 0; bin + 1 < edges.size(); ++bin) {
    if (location <= edges[bin]) {
      shares.push_back(tails[bin] - tails[bin + 1]);
    } else if (location >= edges[bin + 1]) {
      shares.push_back(tails[bin + 1] - tails[bin]);
    } else {
      shares.push_back(2 - tails[bin] - tails[bin + 1]);
    }
  }
  const double total = std::accumulate(shares.begin(), shares.end(), 0.0);
  for (double& share : shares) share /= total;
  return shares;
}

// All in the two bins around the mean, in one where it is that bin's.
std::vector<double> narrowest_shares(const std::vector<double>& centres, double mean) {
  std::vector<double> shares(centres.size());
  const auto above = std::upper_bound(centres.begin() + 1, centres.end() - 1, mean);
  const auto bin = static_cast<size_t>(above - centres.begin());
  shares[bin] = (mean - centres[bin - 1]) / (centres[bin] - centres[bin - 1]);
  shares[bin - 1] = 1 - shares[bin];
  return shares;
}

// The shares of that location for which the histogram has the mean. REQUIRES: the mean lies between the outer centres.
std::vector<double> shares_with_mean(const std::vector<double>& centres, double mean, double stddev) {
  const std::vector<double> edges = edges_of(centres);
  const double tolerance = kMeanTolerance * (centres.back() - centres.front());
  std::vector<double> shares;
  const auto excess_at = [&](double location) {  // rises with the location
    shares = normal_shares(edges, location, stddev);
    return std::inner_product(shares.begin(), shares.end(), centres.begin(), -mean);
  };
  double low = mean;
  double low_excess = excess_at(low);
  double high = low;
  double high_excess = low_excess;
  for (double step = stddev; low_excess > 0; step *= 2) low_excess = excess_at(low -= step);
  for (double step = stddev; high_excess < 0; step *= 2) high_excess = excess_at(high += step);
  double excess = low == mean ? high_excess : low_excess;
  // Regula falsi in the Illinois variant, and every third time bisection, where flat stretches would hold it up.
  for (int step = 0; std::abs(excess) > tolerance && step < kMostSteps; ++step) {
    const bool bisects = step % 3 == 2;
    const double location =
        bisects ? (low + high) / 2 : (low * high_excess - high * low_excess) / (high_excess - low_excess);
    excess = excess_at(location);
    if (excess < 0) {
      low = location;
      low_excess = excess;
      if (!bisects) high_excess /= 2;
    } else {
      high = location;
      high_excess = excess;
      if (!bisects) low_excess /= 2;
    }
  }
  return shares;
}

Label label_from_shares(const std::vector<double>& shares, const std::vector<float>& bin_centres) {
  Label label{.histogram = {shares.begin(), shares.end()}};
  const double mean = std::inner_product(shares.begin(), shares.end(), bin_centres.begin(), 0.0);
  double variance = 0;
  for (size_t bin = 0; bin < shares.size(); ++bin) variance += shares[bin] * std::pow(bin_centres[bin] - mean, 2);
  label.mean = static_cast<float>(mean);
  label.stddev = static_cast<float>(std::sqrt(variance));
  return label;
}

}  // namespace

std::string_view to_string(Split split) {
  switch (split) {
    case Split::kUnlabelled:
      return "unlabelled";
    case Split::kTrain:
      return "train";
    case Split::kValidation:
      return "validation";
    case Split::kTest:
      return "test";
  }
  return "unknown";
}

Label label_from_counts(const std::vector<double>& counts, const std::vector<float>& bin_centres) {
  CSKD_CHECK(counts.size() == bin_centres.size(), "{} counts for {} bins", counts.size(), bin_centres.size());
  double total = 0;
  for (const double count : counts) {
    if (!std::isfinite(count) || count < 0) throw runtime::DataError(fmt::format("a bin has the count {}", count));
    total += count;
  }
  if (total <= 0 || !std::isfinite(total)) throw runtime::DataError("all bins are empty: nobody rated it");
  std::vector<double> shares = counts;
  for (double& share : shares) share /= total;
  return label_from_shares(shares, bin_centres);
}

Label label_from_mean(double mean, double stddev, const std::vector<float>& bin_centres) {
  CSKD_CHECK(bin_centres.size() >= 2, "{} bins", bin_centres.size());
  // From the first one on: what is far from 0 and narrow would lose digits.
  const double origin = bin_centres.front();
  std::vector<double> centres(bin_centres.begin(), bin_centres.end());
  for (double& centre : centres) centre -= origin;
  const double range = centres.back();
  // Rounded as the centres were: a score of 0.1 is not below a bin at 0.1.
  const auto rounded = static_cast<float>(mean);
  if (!(rounded >= bin_centres.front() && rounded <= bin_centres.back())) {
    throw runtime::DataError(fmt::format("the score {} is not from {} to {}, the centres of the first and the last bin",
                                         mean, bin_centres.front(), bin_centres.back()));
  }
  if (!(stddev >= 0 && stddev <= range)) {
    throw runtime::DataError(fmt::format("the stddev {} is impossible for scores from {} to {}", stddev,
                                         bin_centres.front(), bin_centres.back()));
  }
  double narrowest = range;
  for (size_t bin = 1; bin < centres.size(); ++bin) narrowest = std::min(narrowest, centres[bin] - centres[bin - 1]);
  const double place = std::clamp(mean - origin, 0.0, range);
  const double to_end = std::min(place, range - place);
  const bool is_narrow = stddev < kNarrowestStddev * narrowest || to_end < kMeanTolerance * range;
  Label label = label_from_shares(
      is_narrow ? narrowest_shares(centres, place) : shares_with_mean(centres, place, stddev), bin_centres);
  label.mean = rounded;
  return label;
}

}  // namespace cskd::shards
