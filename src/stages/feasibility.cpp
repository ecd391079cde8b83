#include "stages/feasibility.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>
#include <set>
#include <system_error>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "batches/batches.h"
#include "config/tables.h"
#include "data/corpus.h"
#include "data/sample_order.h"
#include "data/sampler.h"
#include "models/encoder.h"
#include "models/encoder_registry.h"
#include "models/plugin/plugin.h"
#include "models/weights/encoder_weights.h"
#include "packing/pack.h"
#include "runtime/error.h"
#include "shards/importers/importer.h"
#include "stages/stage_table.h"
#include "stages/training_setup.h"
#include "training/recipe.h"

namespace cskd::stages {
namespace {

constexpr const char* kNoTestSplit = "no source has a test split: there is nothing to evaluate on";

// Takes what checks throw.
class Findings {
 public:
  void add(const std::string& text) {
    if (std::ranges::find(texts_, text) == texts_.end()) texts_.push_back(text);
  }
  void check(const std::string& where, const std::function<void()>& what) {
    try {
      what();
    } catch (const runtime::Error& error) {
      add(fmt::format("{}{}", where.empty() ? "" : where + ": ", fmt::join(runtime::messages(error), ": ")));
    }
  }
  std::vector<std::string> take() { return std::move(texts_); }

 private:
  std::vector<std::string> texts_;
};

bool any(const std::vector<Stage>& stages, bool StageEntry::*property) {
  return std::ranges::any_of(stages, [&](const Stage& stage) { return stage.entry->*property; });
}

std::vector<TrainingSetup> trainings_of(const config::Config& config, const std::vector<Stage>& stages) {
  std::vector<TrainingSetup> trainings;
  for (const Stage& stage : stages) {
    if (stage.entry->training != nullptr) trainings.push_back(stage.entry->training(config, stage.name));
  }
  return trainings;
}

bool lies_in(const std::filesystem::path& path, const std::filesystem::path& folder) {
  std::error_code error;
  const std::filesystem::path relative = std::filesystem::weakly_canonical(path, error)
                                             .lexically_relative(std::filesystem::weakly_canonical(folder, error));
  return !error && !relative.empty() && *relative.begin() != "..";
}

const std::string& weights_of(const config::Config& config, const std::string& table) {
  const std::string name = table.substr(table.find('.') + 1);
  return table.starts_with("towers.") ? config::table_named(config.towers(), name).weights()
                                      : config::table_named(config.encoders(), name).weights();
}

// Architecture and weights of a tower or an encoder.
void check_table(const config::Config& config, const std::string& table, Findings& findings) {
  const ModelSource source = model_source(config, table);
  findings.check(source.key, [&] { models::encoder_shape(source.architecture, source.image_size); });
  if (models::find_plugin(source.architecture) != nullptr)
    findings.check(table + ".plugin", [&] { models::try_plugin(source.architecture); });
  const std::string& weights = weights_of(config, table);
  if (weights.empty()) return;
  findings.check(table + ".weights",
                 [&] { models::examine_encoder_weights(source.architecture, source.image_size, weights); });
}

// Whether a model of this structure can be trained so.
void check_structure(const TrainingSetup& setup, const ModelSource& source, Findings& findings) {
  const config::Training& training = *setup.training;
  const std::string table = setup.stage + ".training";
  bool normalises = false;
  findings.check(source.key, [&] { normalises = models::normalises_batches(source.architecture); });
  findings.check(source.key, [&] { models::encoder_shape(source.architecture, source.image_size); });
  bool has_drop_path = true;
  findings.check("", [&] { has_drop_path = training.drop_path() == 0 || models::has_drop_path(source.architecture); });
  if (!has_drop_path) {
    findings.add(
        fmt::format("{}.drop_path is {}, but {} is a plug-in, whose program was exported without its branches' drops",
                    table, training.drop_path(), source.architecture));
  }
  if (normalises && training.global_batch() == training.micro_batches()) {
    findings.add(
        fmt::format("{0}.global_batch is {1} in {1} micro-batches, but {2} normalises over the pictures of a "
                    "micro-batch and needs two of them: lower {0}.micro_batches",
                    table, training.global_batch(), source.architecture));
  }
}

void check_training(const TrainingSetup& setup, int ranks, Findings& findings) {
  const config::Training& training = *setup.training;
  const std::string table = setup.stage + ".training";
  findings.check("", [&] { training::require_layout(table, training, 0, ranks); });
  findings.check("", [&] { training::require_judge(table, training); });
  for (const PictureStream& stream : setup.streams) {
    if (stream.batch != training.global_batch())
      findings.check("", [&] { require_shares(stream, training.micro_batches()); });
  }
  check_structure(setup, setup.source, findings);
  if (setup.partner) check_structure(setup, *setup.partner, findings);
}

// What the sources are known to lack before anything of them is read.
void check_ratings(const config::Config& config, const std::vector<Stage>& stages,
                   const std::vector<TrainingSetup>& trainings, Findings& findings) {
  if (config.sources().empty()) return;
  std::vector<batches::RatedScale> scales;
  findings.check("", [&] {
    for (const config::Source& source : config.sources()) {
      if (const std::vector<float> centres = shards::bin_centres(source); !centres.empty())
        scales.push_back({source.name(), centres});
    }
    if (scales.empty() && any(stages, &StageEntry::judges)) findings.add(kNoTestSplit);
    if (std::ranges::any_of(trainings, &TrainingSetup::learns_scores)) batches::common_scale(scales);
  });
}

}  // namespace

std::vector<std::string> impossible_stages(const config::Config& config, const std::vector<Stage>& stages, int ranks) {
  Findings findings;
  if (any(stages, &StageEntry::makes_corpus) && config.sources().empty())
    findings.add("the configuration has no [[sources]]: there is nothing to pack");
  for (const config::Source& source : config.sources()) {
    if (any(stages, &StageEntry::makes_corpus) && source.kind() == config::Source::folder &&
        lies_in(config.run().folder(), source.path())) {
      findings.add(
          fmt::format("run.folder {} lies in {}, where source '{}' takes its pictures from: choose another one",
                      config.run().folder(), source.path(), source.name()));
    }
  }
  for (const Stage& stage : stages) {
    for (const std::string& table : stage.tables) check_table(config, table, findings);
  }
  for (const Stage& stage : stages) {
    if (stage.entry->require != nullptr) findings.check("", [&] { stage.entry->require(config, stage.name); });
  }
  const std::vector<TrainingSetup> trainings = trainings_of(config, stages);
  for (const TrainingSetup& setup : trainings) check_training(setup, ranks, findings);
  check_ratings(config, stages, trainings, findings);
  return findings.take();
}

std::vector<std::string> impossible_on_corpus(const config::Config& config, const std::vector<Stage>& stages,
                                              const run::RunFolder& folder) {
  Findings findings;
  const data::Corpus corpus(folder.shards());
  const std::uint64_t seed = config.run().seed();
  const auto split = [&](shards::Split of) { return data::SampleSet::of_split(corpus, of); };
  const auto [labelled, unlabelled] = data::training_sets(corpus, config.labels().fraction(), seed);
  const data::SampleSet all = split(shards::Split::kUnlabelled).followed_by(split(shards::Split::kTrain));
  const auto pictures_of = [&, &labelled = labelled,
                            &unlabelled = unlabelled](PictureStream::Pictures pictures) -> const data::SampleSet& {
    switch (pictures) {
      case PictureStream::Pictures::kAll:
        return all;
      case PictureStream::Pictures::kLabelled:
        return labelled;
      case PictureStream::Pictures::kUnlabelled:
        break;
    }
    return unlabelled;
  };
  const std::uint64_t judged = split(shards::Split::kValidation).size();
  for (const TrainingSetup& setup : trainings_of(config, stages)) {
    if (setup.training->validate_every() > 0 && judged < setup.validation_pictures) {
      findings.add(
          fmt::format("{}.training.validate_every needs {} validation pictures, but the corpus has {}: set "
                      "validation_share of a rated source and pack it again, or set validate_every to 0",
                      setup.stage, setup.validation_pictures, judged));
    }
    if (setup.learns_scores) findings.check("", [&] { batches::bin_centres(corpus); });
    for (const PictureStream& stream : setup.streams) {
      const data::SampleSet& pictures = pictures_of(stream.pictures);
      if (stream.pictures == PictureStream::Pictures::kUnlabelled && pictures.size() == 0) {
        findings.add(
            fmt::format("{} needs pictures without labels, but the corpus has none: add an unlabelled source, or lower "
                        "labels.fraction",
                        setup.stage));
        continue;
      }
      findings.check("", [&] {
        data::require_batch({seed, data::kStreamAlignOrder, pictures.groups(), config.data().shuffle_window()},
                            stream.key, stream.batch);
      });
    }
  }
  for (const Stage& stage : stages) {
    if (stage.entry->require_corpus != nullptr)
      findings.check("", [&] { stage.entry->require_corpus(config, stage.name, corpus); });
  }
  if (any(stages, &StageEntry::judges)) {
    const std::uint64_t tests = split(shards::Split::kTest).size();
    if (tests == 0) findings.add(kNoTestSplit);
    if (tests == 1) findings.add("the corpus has one test picture: correlations need two");
  }
  return findings.take();
}

std::vector<std::string> find_impossible(const config::Config& config, const std::vector<Stage>& stages, int ranks,
                                         const run::RunFolder& folder) {
  std::vector<std::string> findings = impossible_stages(config, stages, ranks);
  if (!std::filesystem::exists(folder.shards() / shards::kManifestFile)) return findings;
  const bool packs = any(stages, &StageEntry::makes_corpus);
  try {
    if (packs) {
      const std::optional<run::Completion> packed = run::recorded_completion(folder.shards());
      if (!packed || !runtime::differences(packed->inputs, packing::shard_inputs(config)).empty()) return findings;
    }
    for (std::string& finding : impossible_on_corpus(config, stages, folder)) findings.push_back(std::move(finding));
  } catch (const runtime::DataError&) {
    if (!packs) throw;  // otherwise packing restores what is damaged
  }
  return findings;
}

std::vector<std::string> lacking_needs(const config::Config& config, const std::vector<Stage>& stages,
                                       const run::RunFolder& folder, const std::set<std::string>& allowed_changes) {
  Findings findings;
  const std::vector<Stage> all = graph(config);
  const bool is_packed = std::filesystem::exists(folder.shards() / shards::kManifestFile);
  for (const Stage& stage : stages) {
    if (stage.entry->judges) continue;  // what is there
    for (const std::string& need : stage.needs) {
      if (std::ranges::find(stages, need, &Stage::id) != stages.end()) continue;
      const Stage& needed = *std::ranges::find(all, need, &Stage::id);
      const std::string command =
          needed.name.empty() ? needed.entry->kind : fmt::format("{} CONFIG {}", needed.entry->kind, needed.name);
      const std::optional<run::Completion> recorded = run::recorded_completion(folder.stage(need));
      if (!recorded) {
        findings.add(fmt::format("{} needs {}, which is not complete: run 'cskd {}' first", stage.id(), need, command));
        continue;
      }
      if (!is_packed) continue;
      const std::string differing =
          runtime::differences(recorded->inputs, needed.entry->inputs(config, folder, needed.name), allowed_changes);
      if (!differing.empty() && !needed.entry->makes_corpus) {
        findings.add(fmt::format("{} needs {}, which was made with other settings or data: {}; run 'cskd {}' first",
                                 stage.id(), need, differing, command));
      }
    }
  }
  return findings.take();
}

void refuse(const std::vector<std::string>& findings) {
  if (findings.empty()) return;
  if (findings.size() == 1) throw runtime::UsageError(findings.front());
  throw runtime::UsageError(
      fmt::format("{} problems prevent this run:\n  - {}", findings.size(), fmt::join(findings, "\n  - ")));
}

std::vector<std::string> describe_weights(const config::Config& config, const std::vector<Stage>& stages) {
  std::set<std::string> tables;
  for (const Stage& stage : stages) tables.insert(stage.tables.begin(), stage.tables.end());
  std::vector<std::string> sentences;
  for (const std::string& table : tables) {
    const std::string& weights = weights_of(config, table);
    if (weights.empty()) continue;
    try {
      const ModelSource source = model_source(config, table);
      const models::WeightReport report =
          models::examine_encoder_weights(source.architecture, source.image_size, weights);
      const std::string& licence = models::encoder_entry(source.architecture).licence;
      sentences.push_back(fmt::format(
          "{}: {}{}", table, models::sentence(report, models::encoder_shape(source.architecture, source.image_size)),
          licence.empty() ? "" : fmt::format("; published under {}", licence)));
    } catch (const runtime::Error&) {
      continue;  // said by impossible_stages()
    }
  }
  return sentences;
}

}  // namespace cskd::stages
