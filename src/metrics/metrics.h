// Agreement of predicted score distributions with people's (docs/method.md, "Figures"). Pure functions, double
// precision, no LibTorch.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace cskd::metrics {

// Correlations of two samples of equal length n >= 2; NaN when either is constant.
double pearson(std::span<const double> x, std::span<const double> y);        // PLCC, raw
double spearman(std::span<const double> x, std::span<const double> y);       // SRCC; ties get their mean rank
double kendall_tau_b(std::span<const double> x, std::span<const double> y);  // KRCC, O(n log n) (Knight 1966)

// Earth Mover's Distance of two histograms over the same K bins (they sum to 1):
// ((1/K) sum_k |CDF_p(k) - CDF_q(k)|^r)^(1/r). NIMA, arXiv 1709.05424, eq. 1.
double earth_movers_distance(std::span<const double> p, std::span<const double> q, double r);

// One picture's distribution, as predicted and as rated; sums are 1 within 1e-3 (they are renormalised).
struct RatedPrediction {
  std::vector<double> predicted;  // [K]
  std::vector<double> rated;      // [K]
};

// A figure with its bootstrap 95 % percentile interval over pictures.
struct Estimate {
  double value = 0;
  double low = 0;
  double high = 0;
};

// The interval of a figure from its values in resamples, those that are NaN left out; [value, value] without any.
Estimate percentile_interval(double value, std::vector<double> resampled);

struct Scores {
  Estimate srcc, plcc, krcc;  // of the mean scores
  Estimate accuracy;          // share of pictures whose means lie on the same side of `middle` (mean > middle)
  Estimate emd, emd2;         // mean over pictures, r = 1 and 2
  Estimate mse;               // of the mean scores
  Estimate std_plcc;          // Pearson of predicted and rated standard deviation
  std::int64_t n = 0;
  // The mean score that every picture was given, where they all were given the same: there is no correlation then.
  std::optional<double> constant;
};

// First minus second, of the same pictures. Resamples are drawn once for both: what makes a picture hard for both
// cancels out of the interval.
struct PairedDifference {
  Estimate srcc, plcc;
};

// Where "good" begins: 5 on a scale of ten bins (AVA's), the middle of the scale otherwise.
double middle_of(const std::vector<double>& bin_centres);

struct ScoreOptions {
  std::vector<double> bin_centres;  // [K]
  double middle = 5;
  int resamples = 1000;    // bootstrap; the interval is [value, value] when 0
  std::uint64_t seed = 1;  // Philox: item = resample
};

// Throws DataError naming the first picture whose histogram is empty, negative, not finite or of the wrong length, or
// when there are fewer than 2 pictures.
Scores score(std::span<const RatedPrediction> pictures, const ScoreOptions& options);

// Of two models' predictions of the same pictures in the same order. Throws as score().
PairedDifference paired_difference(std::span<const RatedPrediction> first, std::span<const RatedPrediction> second,
                                   const ScoreOptions& options);

}  // namespace cskd::metrics
