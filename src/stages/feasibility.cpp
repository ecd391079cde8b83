#include "stages/feasibility.h"

#include <algorithm>
#include <filesystem>
#include <functional>
#include <optional>
#include <system_error>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "batches/batches.h"
#include "data/corpus.h"
#include "data/sample_order.h"
#include "data/sampler.h"
#include "models/encoder.h"
#include "models/safetensors.h"
#include "packing/pack.h"
#include "runtime/error.h"
#include "stages/inputs.h"
#include "stages/score.h"
#include "stages/stage_table.h"
#include "training/recipe.h"

namespace cskd::stages {
namespace {

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

bool has(const std::vector<std::string>& stages, const std::string& stage) {
  return std::ranges::find(stages, stage) != stages.end();
}

bool any(const std::vector<std::string>& stages, bool StageEntry::*property) {
  return std::ranges::any_of(stages, [&](const std::string& stage) { return stage_entry(stage).*property; });
}

bool lies_in(const std::filesystem::path& path, const std::filesystem::path& folder) {
  std::error_code error;
  const std::filesystem::path relative = std::filesystem::weakly_canonical(path, error)
                                             .lexically_relative(std::filesystem::weakly_canonical(folder, error));
  return !error && !relative.empty() && *relative.begin() != "..";
}

void check_weights(const config::Clip& clip, Findings& findings) {
  if (clip.weights().empty()) {
    findings.add("clip.weights is not given: name a safetensors file with the weights of clip.encoder");
    return;
  }
  findings.check("clip.weights", [&] { models::read_safetensors_header(clip.weights()); });
}

void check_training(const NamedTraining& trained, int ranks, Findings& findings) {
  const TrainingSetup& setup = trained.setup;
  const config::Training& training = *setup.training;
  const std::string table = trained.stage + ".training";
  findings.check("", [&] { training::require_layout(table, training, 0, ranks); });
  findings.check("", [&] { training::require_judge(table, training); });
  bool normalises = false;
  findings.check(setup.encoder_key, [&] { normalises = models::normalises_batches(setup.encoder); });
  findings.check(setup.encoder_key, [&] { models::encoder_shape(setup.encoder, setup.image_size); });
  if (normalises && training.global_batch() == training.micro_batches()) {
    findings.add(
        fmt::format("{0}.global_batch is {1} in {1} micro-batches, but {2} normalises over the pictures of a "
                    "micro-batch and needs two of them: lower {0}.micro_batches",
                    table, training.global_batch(), setup.encoder));
  }
}

}  // namespace

std::vector<std::string> impossible_stages(const config::Config& config, const std::vector<std::string>& stages,
                                           int ranks) {
  Findings findings;
  const std::vector<NamedTraining> trained = trainings_of(config, stages);
  const bool starts_from_clip =
      std::ranges::any_of(trained, [](const NamedTraining& each) { return each.setup.start == config::clip; });
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
  if (has(stages, "cache") || has(stages, "align") || starts_from_clip) {
    findings.check("clip.encoder", [&] { models::encoder_shape(config.clip().encoder()); });
    check_weights(config.clip(), findings);
  }
  for (const NamedTraining& each : trained) check_training(each, ranks, findings);
  if (const config::Distill& distill = config.distill();
      has(stages, kStudent) && distill.labelled_batch() % distill.training().micro_batches() != 0) {
    findings.add(fmt::format("distill.labelled_batch is {}, which the {} micro-batches do not divide",
                             distill.labelled_batch(), distill.training().micro_batches()));
  }
  return findings.take();
}

std::vector<std::string> impossible_on_corpus(const config::Config& config, const std::vector<std::string>& stages,
                                              const run::RunFolder& folder) {
  Findings findings;
  const data::Corpus corpus(folder.shards());
  const std::uint64_t seed = config.run().seed();
  const auto split = [&](shards::Split of) { return data::SampleSet::of_split(corpus, of); };
  const auto [labelled, unlabelled] = data::training_sets(corpus, config.labels().fraction(), seed);
  const auto require_epoch = [&](const data::SampleSet& pictures, const std::string& key, std::uint64_t batch) {
    findings.check("", [&] {
      data::require_batch({seed, data::kStreamAlignOrder, pictures.groups(), config.data().shuffle_window()}, key,
                          batch);
    });
  };
  const std::uint64_t judged = split(shards::Split::kValidation).size();
  for (const NamedTraining& each : trainings_of(config, stages)) {
    const config::Training& training = *each.setup.training;
    const std::string table = each.stage + ".training";
    const std::uint64_t needed = each.stage == "align" ? 1 : 2;
    if (training.validate_every() > 0 && judged < needed) {
      findings.add(
          fmt::format("{}.validate_every needs {} validation pictures, but the corpus has {}: set validation_share "
                      "of a rated source and pack it again, or set validate_every to 0",
                      table, needed, judged));
    }
    if (each.stage == "align") {
      require_epoch(split(shards::Split::kUnlabelled).followed_by(split(shards::Split::kTrain)),
                    table + ".global_batch", training.global_batch());
      continue;
    }
    findings.check("", [&] { batches::bin_centres(corpus); });
    if (each.stage != kStudent) {
      require_epoch(labelled, table + ".global_batch", training.global_batch());
      continue;
    }
    if (unlabelled.size() == 0) {
      findings.add(
          "distill needs pictures without labels, but the corpus has none: add an unlabelled source, or lower "
          "labels.fraction");
    } else {
      require_epoch(unlabelled, table + ".global_batch", training.global_batch());
    }
    const std::uint64_t batch = config.distill().labelled_batch();
    require_epoch(labelled, "distill.labelled_batch", batch > 0 ? batch : training.global_batch());
  }
  if (any(stages, &StageEntry::judges)) {
    const std::uint64_t tests = split(shards::Split::kTest).size();
    if (tests == 0) findings.add("no source has a test split: there is nothing to evaluate on");
    if (tests == 1) findings.add("the corpus has one test picture: correlations need two");
  }
  return findings.take();
}

std::vector<std::string> find_impossible(const config::Config& config, const std::vector<std::string>& stages,
                                         int ranks) {
  std::vector<std::string> findings = impossible_stages(config, stages, ranks);
  const run::RunFolder folder{config.run().folder()};
  if (!std::filesystem::exists(folder.shards() / shards::kManifestFile)) return findings;
  const bool packs = any(stages, &StageEntry::makes_corpus);
  try {
    if (packs) {
      const std::optional<runtime::Inputs> packed = run::recorded_inputs(folder.shards());
      if (!packed || !runtime::differences(*packed, packing::shard_inputs(config)).empty()) return findings;
    }
    for (std::string& finding : impossible_on_corpus(config, stages, folder)) findings.push_back(std::move(finding));
  } catch (const runtime::DataError&) {
    if (!packs) throw;  // otherwise packing restores what is damaged
  }
  return findings;
}

void refuse(const std::vector<std::string>& findings) {
  if (findings.empty()) return;
  if (findings.size() == 1) throw runtime::UsageError(findings.front());
  throw runtime::UsageError(
      fmt::format("{} things keep this run from being done:\n  - {}", findings.size(), fmt::join(findings, "\n  - ")));
}

}  // namespace cskd::stages
