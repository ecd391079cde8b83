// All stages, in one table. Commands, the runner, the display, help and checks read it; nothing else knows a stage by
// its name.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/config.pb.h"
#include "run/context.h"
#include "stages/training_setup.h"

namespace cskd::stages {

struct StageEntry {
  const char* name = nullptr;
  const char* description = nullptr;
  run::StageOutcome (*run)(const run::Context& context) = nullptr;
  // Null for stages that do not train.
  TrainingSetup (*training)(const config::Config& config) = nullptr;
  // What people call the model of its that scores pictures; null for stages without one.
  const char* judged_model = nullptr;
  // Null, or what a person who asked for this stage alone wants to read of its result.
  std::string (*result)(const run::RunFolder& folder, const run::Completion& completion) = nullptr;
  // Null, or the same as JSON, beyond the facts of the completion.
  std::string (*result_json)(const run::RunFolder& folder) = nullptr;
  bool makes_corpus = false;  // that all others read
  bool judges = false;        // models on test pictures
};

// In the order in which a run goes through them.
const std::vector<StageEntry>& stage_table();

// REQUIRES: there is a stage of this name
const StageEntry& stage_entry(std::string_view name);

// Names of all stages, in their order.
const std::vector<std::string>& stage_names();

// Of the stages that are named. REQUIRES: as stage_entry()
struct NamedTraining {
  std::string stage;
  TrainingSetup setup;
};
std::vector<NamedTraining> trainings_of(const config::Config& config, const std::vector<std::string>& stages);

}  // namespace cskd::stages
