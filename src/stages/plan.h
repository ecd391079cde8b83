// The plan of a run: what is complete, what would run and why, and what that would take.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "config/config.pb.h"
#include "models/compute_settings.h"
#include "run/run_folder.h"
#include "stages/graph.h"
#include "training/model_cost.h"

namespace cskd::stages {

enum class Verdict {
  kComplete,   // its result is there, made from what the configuration says
  kRuns,       // nothing is there yet
  kGoesOn,     // from a checkpoint
  kRunsAgain,  // its result was made from something else, or is not all there
  kRefused,    // a training's result or checkpoint was made with other settings or data: never overwritten silently
};

const char* name_of(Verdict verdict);

// What it takes to have a tower's features in a training, stored once or computed in each step.
struct PlannedTower {
  std::string tower;  // "towers.clip"
  bool is_cached = false;
  bool is_storable = false;                  // pixels come again
  std::optional<std::uint64_t> views;        // that a cache holds or would hold
  std::optional<std::uint64_t> cache_bytes;  // of them
  std::optional<double> cache_seconds;       // to compute them
  std::optional<double> step_seconds;        // of the whole training, were they computed in its steps
};

struct PlannedStage {
  Stage stage;
  Verdict verdict = Verdict::kRuns;
  std::string reason;  // "align.student.training.steps (was 400, is 600)", "after step 400 of 600"; empty: none needed
  // Of what is left to do, or of a complete one, of what was done. Nothing where it is not known: before the corpus is
  // packed, or where nothing was measured.
  std::optional<std::uint64_t> images;
  std::optional<double> seconds;
  std::optional<std::uint64_t> disk_bytes;  // of the run folder, at most
  // Of a rank: weights, gradients, averages, optimiser, activations; and views that are kept (data.keep_views).
  std::optional<std::uint64_t> memory_bytes;
  std::vector<PlannedTower> towers;  // of a training that learns their features
};

// Costs of a model that is trained; measured where the plan is made, or nothing.
using CostOf = std::function<std::optional<training::ModelCost>(const training::ModelSubject& model)>;

struct PlanOptions {
  int devices = 1;  // among which work is shared
  CostOf cost_of = [](const training::ModelSubject&) { return std::nullopt; };
};

// The stages of the graph in its order. Reads records, the manifest and weight files, changes nothing. Throws DataError
// when the manifest is damaged.
std::vector<PlannedStage> plan(const config::Config& config, const run::RunFolder& folder, const PlanOptions& options);

}  // namespace cskd::stages
