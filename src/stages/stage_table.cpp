#include "stages/stage_table.h"

#include <algorithm>

#include "evaluation/evaluate.h"
#include "evaluation/results.h"
#include "features/cache.h"
#include "packing/corpus_table.h"
#include "packing/pack.h"
#include "runtime/check.h"
#include "stages/align.h"
#include "stages/score.h"

namespace cskd::stages {
namespace {

// Models that score pictures: the last one that a run trains, its product, comes first.
run::StageOutcome evaluate_all(const run::Context& context) {
  std::vector<evaluation::JudgedModel> models;
  for (const StageEntry& entry : stage_table()) {
    if (entry.judged_model != nullptr) models.push_back({entry.name, entry.judged_model});
  }
  std::ranges::reverse(models);
  return evaluation::run_evaluate(context, models);
}

std::string packed(const run::RunFolder&, const run::Completion& completion) {
  return packing::corpus_table(completion.facts);
}

std::string judged(const run::RunFolder& folder, const run::Completion&) {
  return evaluation::results_table(evaluation::read_results(evaluation::results_folder(folder)));
}

std::string judged_json(const run::RunFolder& folder) {
  return evaluation::results_json(evaluation::results_folder(folder));
}

}  // namespace

const std::vector<StageEntry>& stage_table() {
  static const std::vector<StageEntry> table{
      {.name = "shard",
       .description = "Pack the sources into verified image shards, without duplicates and leaks",
       .run = packing::run_shard,
       .result = packed,
       .makes_corpus = true},
      {.name = "cache",
       .description = "Store what the frozen CLIP encoder sees in views of every picture",
       .run = features::run_cache},
      {.name = "align",
       .description = "Stage I: align an encoder to CLIP, without labels",
       .run = run_align,
       .training = align_training},
      {.name = kTeacher,
       .description = "Train the aesthetics teacher on labelled pictures",
       .run = run_finetune,
       .training = finetune_training,
       .judged_model = "teacher"},
      {.name = kBaseline,
       .description = "Train the student's encoder on labels alone, to compare with",
       .run = run_baseline,
       .training = baseline_training,
       .judged_model = "supervised"},
      {.name = kStudent,
       .description = "Stage II: train the student from labels and the teacher's scores",
       .run = run_distill,
       .training = distill_training,
       .judged_model = "student"},
      {.name = "evaluate",
       .description = "Judge the trained models on the held-out test pictures",
       .run = evaluate_all,
       .result = judged,
       .result_json = judged_json,
       .judges = true},
  };
  return table;
}

const StageEntry& stage_entry(std::string_view name) {
  const auto& table = stage_table();
  const auto found = std::ranges::find_if(table, [&](const StageEntry& entry) { return entry.name == name; });
  CSKD_CHECK(found != table.end(), "no stage '{}'", name);
  return *found;
}

const std::vector<std::string>& stage_names() {
  static const std::vector<std::string> names = [] {
    std::vector<std::string> all;
    for (const StageEntry& entry : stage_table()) all.emplace_back(entry.name);
    return all;
  }();
  return names;
}

std::vector<NamedTraining> trainings_of(const config::Config& config, const std::vector<std::string>& stages) {
  std::vector<NamedTraining> trainings;
  for (const StageEntry& entry : stage_table()) {
    if (entry.training != nullptr && std::ranges::find(stages, entry.name) != stages.end())
      trainings.push_back({entry.name, entry.training(config)});
  }
  return trainings;
}

}  // namespace cskd::stages
