#include "metrics/metrics.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>
#include <utility>

#include <fmt/format.h>

#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/philox.h"

namespace cskd::metrics {
namespace {

constexpr std::uint32_t kBootstrapStream = 200;
constexpr double kTolerance = 1e-3;  // of a histogram's sum

// Figures of each picture, so that a resample costs no histograms.
struct Columns {
  std::vector<double> predicted_mean, rated_mean, predicted_std, rated_std, emd, emd2;
};

std::vector<double> checked(const std::vector<double>& histogram, size_t bins, size_t picture, const char* which) {
  const auto refuse = [&](const std::string& what) {
    throw runtime::DataError(fmt::format("the {} distribution of picture {} {}", which, picture, what));
  };
  if (histogram.size() != bins) refuse(fmt::format("has {} bins, expected {}", histogram.size(), bins));
  double sum = 0;
  for (const double share : histogram) {
    if (!std::isfinite(share) || share < 0) refuse(fmt::format("holds {}", share));
    sum += share;
  }
  if (std::abs(sum - 1) > kTolerance) refuse(fmt::format("sums to {}, expected 1", sum));
  std::vector<double> result;
  result.reserve(bins);
  for (const double share : histogram) result.push_back(share / sum);
  return result;
}

double mean_of(const std::vector<double>& histogram, const std::vector<double>& centres) {
  return std::inner_product(histogram.begin(), histogram.end(), centres.begin(), 0.0);
}

double std_of(const std::vector<double>& histogram, const std::vector<double>& centres) {
  const double mean = mean_of(histogram, centres);
  double variance = 0;
  for (size_t bin = 0; bin < centres.size(); ++bin)
    variance += histogram[bin] * (centres[bin] - mean) * (centres[bin] - mean);
  return std::sqrt(variance);
}

std::vector<double> taken(const std::vector<double>& values, const std::vector<std::uint32_t>& rows) {
  std::vector<double> result;
  result.reserve(rows.size());
  for (const std::uint32_t row : rows) result.push_back(values[row]);
  return result;
}

double average(const std::vector<double>& values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

constexpr size_t kFigures = 8;

// In the order of Scores.
std::array<double, kFigures> figures(const Columns& all, const std::vector<std::uint32_t>& rows, double middle) {
  const std::vector<double> predicted = taken(all.predicted_mean, rows);
  const std::vector<double> rated = taken(all.rated_mean, rows);
  double agreeing = 0;
  double squares = 0;
  for (size_t i = 0; i < rows.size(); ++i) {
    agreeing += (predicted[i] > middle) == (rated[i] > middle) ? 1 : 0;
    squares += (predicted[i] - rated[i]) * (predicted[i] - rated[i]);
  }
  const auto n = static_cast<double>(rows.size());
  return {spearman(predicted, rated),
          pearson(predicted, rated),
          kendall_tau_b(predicted, rated),
          agreeing / n,
          average(taken(all.emd, rows)),
          average(taken(all.emd2, rows)),
          squares / n,
          pearson(taken(all.predicted_std, rows), taken(all.rated_std, rows))};
}

// Linear between the two nearest order statistics; numpy's default.
double percentile(const std::vector<double>& sorted, double share) {
  const double place = share * static_cast<double>(sorted.size() - 1);
  const auto below = static_cast<size_t>(place);
  const size_t above = std::min(below + 1, sorted.size() - 1);
  return sorted[below] + (place - static_cast<double>(below)) * (sorted[above] - sorted[below]);
}

Columns columns_of(std::span<const RatedPrediction> pictures, const ScoreOptions& options) {
  if (pictures.size() < 2)
    throw runtime::DataError(fmt::format("{} pictures are too few to be scored", pictures.size()));
  Columns columns;
  for (size_t i = 0; i < pictures.size(); ++i) {
    const std::vector<double> predicted = checked(pictures[i].predicted, options.bin_centres.size(), i, "predicted");
    const std::vector<double> rated = checked(pictures[i].rated, options.bin_centres.size(), i, "rated");
    columns.predicted_mean.push_back(mean_of(predicted, options.bin_centres));
    columns.rated_mean.push_back(mean_of(rated, options.bin_centres));
    columns.predicted_std.push_back(std_of(predicted, options.bin_centres));
    columns.rated_std.push_back(std_of(rated, options.bin_centres));
    columns.emd.push_back(earth_movers_distance(predicted, rated, 1));
    columns.emd2.push_back(earth_movers_distance(predicted, rated, 2));
  }
  return columns;
}

std::vector<std::uint32_t> all_rows(size_t pictures) {
  std::vector<std::uint32_t> rows(pictures);
  std::iota(rows.begin(), rows.end(), 0U);
  return rows;
}

// The same draws whatever is made of them.
template <typename Use>
void for_each_resample(size_t pictures, const ScoreOptions& options, const Use& use) {
  std::vector<std::uint32_t> rows(pictures);
  for (int resample = 0; resample < options.resamples; ++resample) {
    runtime::Philox random(options.seed, kBootstrapStream, static_cast<std::uint64_t>(resample));
    for (std::uint32_t& row : rows) row = random.below(static_cast<std::uint32_t>(pictures));
    use(rows);
  }
}

}  // namespace

Estimate percentile_interval(double value, std::vector<double> resampled) {
  std::erase_if(resampled, [](double figure) { return std::isnan(figure); });
  if (resampled.empty()) return {value, value, value};
  std::sort(resampled.begin(), resampled.end());
  return {value, percentile(resampled, 0.025), percentile(resampled, 0.975)};
}

double middle_of(const std::vector<double>& bin_centres) {
  return bin_centres.size() == 10 ? 5.0 : (bin_centres.front() + bin_centres.back()) / 2;
}

double earth_movers_distance(std::span<const double> p, std::span<const double> q, double r) {
  CSKD_CHECK(p.size() == q.size() && !p.empty() && r > 0, "EMD of {} and {} bins, r = {}", p.size(), q.size(), r);
  double difference = 0;
  double sum = 0;
  for (size_t bin = 0; bin < p.size(); ++bin) {
    difference += p[bin] - q[bin];
    sum += std::pow(std::abs(difference), r);
  }
  return std::pow(sum / static_cast<double>(p.size()), 1 / r);
}

Scores score(std::span<const RatedPrediction> pictures, const ScoreOptions& options) {
  const Columns columns = columns_of(pictures, options);
  const std::array<double, kFigures> values = figures(columns, all_rows(pictures.size()), options.middle);
  std::array<std::vector<double>, kFigures> resampled;
  for_each_resample(pictures.size(), options, [&](const std::vector<std::uint32_t>& rows) {
    const std::array<double, kFigures> found = figures(columns, rows, options.middle);
    for (size_t figure = 0; figure < kFigures; ++figure) resampled[figure].push_back(found[figure]);
  });
  Scores scores;
  scores.n = static_cast<std::int64_t>(pictures.size());
  const auto [lowest, highest] = std::ranges::minmax(columns.predicted_mean);
  if (lowest == highest) scores.constant = lowest;
  const std::array<Estimate*, kFigures> targets{&scores.srcc, &scores.plcc, &scores.krcc, &scores.accuracy,
                                                &scores.emd,  &scores.emd2, &scores.mse,  &scores.std_plcc};
  for (size_t figure = 0; figure < kFigures; ++figure)
    *targets[figure] = percentile_interval(values[figure], std::move(resampled[figure]));
  return scores;
}

PairedDifference paired_difference(std::span<const RatedPrediction> first, std::span<const RatedPrediction> second,
                                   const ScoreOptions& options) {
  CSKD_CHECK(first.size() == second.size(), "{} and {} predictions", first.size(), second.size());
  const Columns columns = columns_of(first, options);
  const Columns others = columns_of(second, options);
  const auto correlations = [&](const std::vector<std::uint32_t>& rows) {
    const std::vector<double> rated = taken(columns.rated_mean, rows);
    const std::vector<double> mine = taken(columns.predicted_mean, rows);
    const std::vector<double> its = taken(others.predicted_mean, rows);
    return std::pair(spearman(mine, rated) - spearman(its, rated), pearson(mine, rated) - pearson(its, rated));
  };
  std::vector<double> srcc;
  std::vector<double> plcc;
  for_each_resample(first.size(), options, [&](const std::vector<std::uint32_t>& rows) {
    const auto [by_rank, raw] = correlations(rows);
    srcc.push_back(by_rank);
    plcc.push_back(raw);
  });
  const auto [by_rank, raw] = correlations(all_rows(first.size()));
  return {.srcc = percentile_interval(by_rank, std::move(srcc)), .plcc = percentile_interval(raw, std::move(plcc))};
}

}  // namespace cskd::metrics
