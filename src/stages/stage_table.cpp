#include "stages/stage_table.h"

#include <algorithm>
#include <filesystem>

#include "config/tables.h"
#include "evaluation/evaluate.h"
#include "evaluation/results.h"
#include "features/cache.h"
#include "packing/corpus_table.h"
#include "packing/image_check.h"
#include "packing/pack.h"
#include "runtime/check.h"
#include "stages/align.h"
#include "stages/export.h"
#include "stages/graph.h"
#include "stages/head_transfer.h"
#include "stages/inputs.h"
#include "stages/ridge.h"
#include "stages/score.h"
#include "stages/teacher_answers.h"

namespace cskd::stages {
namespace {

run::StageOutcome pack(const run::Context& context, const std::string&) { return packing::run_shard(context); }

runtime::Inputs packed_from(const config::Config& config, const run::RunFolder&, const std::string&) {
  return packing::shard_inputs(config);
}

// The models of the configuration that score pictures, as far as they are to be judged: the last one that a run trains,
// its product, comes first.
std::vector<std::string> judged_models(const config::Config& config) {
  std::vector<std::string> models;
  for (const Stage& stage : graph(config)) {
    if (stage.entry->judges) models = stage.judged;
  }
  std::ranges::reverse(models);
  return models;
}

void require_stored_views(const config::Config& config, const std::string& tower) {
  features::require_views(config::table_named(config.towers(), tower), true);
}

run::StageOutcome judge(const run::Context& context, const std::string&) {
  const bool all_needed = context.config.evaluate().models_size() > 0;
  return evaluation::run_evaluate(context, judged_models(context.config), all_needed);
}

// Of those that are trained.
runtime::Inputs judged_from(const config::Config& config, const run::RunFolder& folder, const std::string&) {
  std::vector<std::string> models = judged_models(config);
  std::erase_if(models, [&](const std::string& model) { return !std::filesystem::exists(folder.model(model)); });
  return evaluation::evaluate_inputs(config, folder, models);
}

void require_alpha(const config::Config& config, const std::string&) { packing::alpha_colour(config.packing()); }

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
      {.kind = "shard",
       .description = "Pack the sources into verified image shards, without duplicates and leaks",
       .run = pack,
       .inputs = packed_from,
       .result = packed,
       .makes_corpus = true,
       .require = require_alpha},
      {.kind = "cache",
       .description = "Store the features of frozen towers for views of every image",
       .list = "towers",
       .example = "clip",
       .run = features::run_cache,
       .inputs = features::cache_inputs,
       .caches_towers = true,
       .require = require_stored_views},
      {.kind = "align",
       .description = "Stage I: align encoders to towers, without labels",
       .list = "align",
       .example = "student",
       .run = run_align,
       .inputs = align_inputs,
       .training = align_training,
       .reads_caches = align_reads_caches,
       .require = require_align},
      {.kind = "ridge",
       .description = "Fit score heads to frozen features, in closed form",
       .list = "ridge",
       .example = "teacher",
       .run = run_ridge,
       .inputs = ridge_inputs,
       .require_corpus = require_ridge_labels,
       .pass = ridge_pass,
       .scores = true},
      {.kind = "finetune",
       .description = "Train aesthetics teachers, and baselines, on labelled pictures",
       .list = "finetune",
       .example = "teacher",
       .run = run_finetune,
       .inputs = finetune_inputs,
       .training = finetune_training,
       .scores = true},
      {.kind = "distill",
       .description = "Stage II: train students from labels and a teacher's scores",
       .list = "distill",
       .example = "student",
       .run = run_distill,
       .inputs = distill_inputs,
       .training = distill_training,
       .caches_of = answering_caches,
       .require = require_distill,
       .scores = true},
      {.kind = "export",
       .description = "Make files for other programs of trained models: ONNX and safetensors",
       .list = "export",
       .example = "phone",
       .run = run_export,
       .inputs = export_inputs,
       .result = export_text},
      {.kind = "evaluate",
       .description = "Evaluate the trained models on the held-out test images",
       .run = judge,
       .inputs = judged_from,
       .result = judged,
       .result_json = judged_json,
       .judges = true},
  };
  return table;
}

const StageEntry& stage_entry(std::string_view kind) {
  const auto& table = stage_table();
  const auto found = std::ranges::find_if(table, [&](const StageEntry& entry) { return entry.kind == kind; });
  CSKD_CHECK(found != table.end(), "no kind of stage '{}'", kind);
  return *found;
}

const std::vector<std::string>& stage_kinds() {
  static const std::vector<std::string> kinds = [] {
    std::vector<std::string> all;
    for (const StageEntry& entry : stage_table()) all.emplace_back(entry.kind);
    return all;
  }();
  return kinds;
}

}  // namespace cskd::stages
