// All kinds of stages, in one table. Commands, the runner, the display, help and checks read it; nothing else knows a
// stage by its kind.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "config/config.pb.h"
#include "data/corpus.h"
#include "run/context.h"
#include "runtime/inputs.h"
#include "stages/training_setup.h"

namespace cskd::stages {

struct StageEntry {
  const char* kind = nullptr;  // the command, and what its stages are called: "align.student"
  const char* description = nullptr;
  // The tables of a configuration that are stages of this kind, [<list>.NAME]; null for what there is one of, whose
  // name is "".
  const char* list = nullptr;
  const char* example = nullptr;  // of such a name, for the help
  run::StageOutcome (*run)(const run::Context& context, const std::string& name) = nullptr;
  // What its result is made from. Reads the manifest (but for the stage that makes the corpus) and weight files.
  runtime::Inputs (*inputs)(const config::Config& config, const run::RunFolder& folder,
                            const std::string& name) = nullptr;
  // Null for stages that do not train.
  TrainingSetup (*training)(const config::Config& config, const std::string& name) = nullptr;
  // Null, or what a person who asked for this stage alone wants to read of its result.
  std::string (*result)(const run::RunFolder& folder, const run::Completion& completion) = nullptr;
  // Null, or the same as JSON, beyond the facts of the completion.
  std::string (*result_json)(const run::RunFolder& folder) = nullptr;
  bool makes_corpus = false;   // that all others read
  bool caches_towers = false;  // the features of towers, for stages that read caches
  // Null, or whether a stage reads the caches of the towers that it refers to.
  bool (*reads_caches)(const config::Config& config, const std::string& name) = nullptr;
  // Null, or towers whose caches it reads without referring to them.
  std::vector<std::string> (*caches_of)(const config::Config& config, const std::string& name) = nullptr;
  // Null, or throws UsageError for settings that exclude each other.
  void (*require)(const config::Config& config, const std::string& name) = nullptr;
  // Null, or throws UsageError for a corpus that the stage cannot work with.
  void (*require_corpus)(const config::Config& config, const std::string& name, const data::Corpus& corpus) = nullptr;
  // Null, or what a stage that does not train looks at.
  TeacherPass (*pass)(const config::Config& config, const std::string& name) = nullptr;
  bool scores = false;  // its models score pictures
  bool judges = false;  // models on test pictures
};

// In the order in which a run goes through them, where references do not say otherwise.
const std::vector<StageEntry>& stage_table();

// REQUIRES: there is a stage of this kind
const StageEntry& stage_entry(std::string_view kind);

// All kinds, in their order.
const std::vector<std::string>& stage_kinds();

}  // namespace cskd::stages
