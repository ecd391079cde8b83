// The contents of run folders, gathered for a report.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "config/config.pb.h"
#include "evaluation/results.h"
#include "evaluation/sweep_table.h"
#include "report/status.h"
#include "run/run_folder.h"
#include "run_report/metric_table.h"
#include "stages/graph.h"

namespace cskd::run_report {

struct StageRecord {
  stages::Stage stage;
  std::filesystem::path folder;
  std::optional<run::Completion> completion;  // nothing: it is not complete
  MetricTable metrics;                        // of a training

  std::string id() const { return stage.id(); }
};

// A run, or a member of a sweep.
struct RunRecord {
  std::string name;  // of its folder, "demo", or of a member its values, "run.seed=2"
  config::Config config;
  run::RunFolder folder;
  std::vector<StageRecord> stages;  // in the order of the graph
  std::optional<evaluation::Results> results;
  std::vector<evaluation::PredictedMeans> predictions;
  std::optional<report::Status> status;
  std::string analysis;               // analysis.json; empty: there is none
  std::vector<std::string> troubles;  // files that could not be read, a sentence each

  // Null where the graph has no such stage.
  const StageRecord* find(const std::string& id) const;
  double seconds() const;  // of all complete stages
};

struct SweepRecord {
  std::string name;
  evaluation::SweepTable table;
};

struct Records {
  std::vector<RunRecord> runs;
  std::vector<SweepRecord> sweeps;  // whose members are among the runs
};

// `folders`: of runs or sweeps. A damaged file of a run is told in `troubles`, and the
// rest is read; so is what a run has not done yet. Names are told apart by their paths where they are the same. Throws
// UsageError for one that is neither.
Records read_records(const std::vector<std::filesystem::path>& folders);

}  // namespace cskd::run_report
