// The figures that a training logged.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

namespace cskd::run_report {

// A figure over the steps at which it was logged; NaN where it was not finite.
struct Curve {
  std::vector<std::int64_t> steps;
  std::vector<double> values;
};

struct MetricTable {
  std::map<std::string, Curve> curves;  // by name: "train/loss"
  std::vector<double> step_seconds;     // from one line to the next, for each step between them
  std::int64_t lines = 0;
  std::int64_t damaged_lines =
      0;  // that are no such records; a run that was killed may leave its last one half-written

  // Null where nothing of this name was logged.
  const Curve* find(const std::string& name) const;
};

// metrics.jsonl in the folder of a training; empty where there is none. Throws Error where it cannot be read.
MetricTable read_metrics(const std::filesystem::path& stage_folder);

// At most `count` points: means of neighbours, NaN left out.
Curve thinned(const Curve& curve, std::size_t count);

// Mean and median of what is finite; NaN without any.
double mean_of(const std::vector<double>& values);
double median_of(const std::vector<double>& values);

}  // namespace cskd::run_report
