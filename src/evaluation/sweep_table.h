// The table that a sweep ends in: figures of its models, averaged over seeds, and paired differences between them.
//
// Note [Intervals of a sweep]
// A figure is the mean over the seeds of a point. Its interval is a 95 % percentile bootstrap over seeds and test
// pictures: each resample draws seeds, and pictures of each seed's test split, with replacement, and takes the mean of
// the figures that come out. The same draws serve all models and points, so that differences are paired: what makes
// pictures or seeds easy for both models cancels out. Test splits that hold the same pictures share a draw. With few
// seeds an interval says little of other seeds: the values of each are listed.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "evaluation/results.h"
#include "metrics/metrics.h"

namespace cskd::evaluation {

// What a member of the sweep gave.
struct SweptMember {
  std::vector<std::pair<std::string, std::string>> values;  // of the axes
  std::vector<PredictedMeans> models;
};

struct SweepRow {
  std::string point;  // values of the axes but for the seed: "labels.fraction=0.1"; "" where there is no other axis
  std::string model;
  std::vector<double> srcc_by_seed;
  metrics::Estimate srcc, plcc;
};

// One model or point minus another, in SRCC.
struct SweepDifference {
  std::string first, second;
  metrics::Estimate srcc;
};

struct SweepTable {
  std::vector<std::string> seeds;  // "1" where the sweep does not go over run.seed
  std::vector<SweepRow> rows;      // points in the order of the sweep, models as they are judged
  // At each point the first model minus every other; then the first model of every point minus that of the first point.
  std::vector<SweepDifference> differences;
};

inline constexpr const char* kSeedKey = "run.seed";

// `members`: all of a sweep. Throws DataError when members of a point judge other models than the rest.
SweepTable make_sweep_table(const std::vector<SweptMember>& members, int resamples, std::uint64_t seed);

std::string to_text(const SweepTable& table);
std::string to_csv(const SweepTable& table);   // a row for each of rows[] and of differences[]
std::string to_json(const SweepTable& table);  // {"seeds", "rows", "differences"}
// What to_json() wrote, other keys passed over. `name`: of the file, for messages. Throws DataError when it is damaged.
SweepTable parse_sweep_table(const std::string& text, const std::string& name);

}  // namespace cskd::evaluation
