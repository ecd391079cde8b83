#include "stages/plan.h"

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <map>
#include <system_error>

#include <fmt/format.h>

#include "batches/batches.h"
#include "config/tables.h"
#include "data/corpus.h"
#include "data/sampler.h"
#include "features/cache.h"
#include "models/encoder.h"
#include "runtime/error.h"
#include "runtime/inputs.h"
#include "stages/stored_answers.h"
#include "stages/train_stage.h"
#include "training/checkpoint.h"

namespace cskd::stages {
namespace {

using runtime::Inputs;

constexpr std::int64_t kForwardBatch = 16;

training::ModelSubject forward_of(const ModelSource& source) {
  return {
      .encoder = source.architecture, .image_size = source.image_size, .batch = kForwardBatch, .trains_encoder = false};
}

constexpr std::int64_t kUsualBins = 10;

// How many pictures a corpus has of each kind.
struct Pictures {
  explicit Pictures(const config::Config& config, const std::filesystem::path& shards) {
    const data::Corpus corpus(shards);
    const auto split = [&](shards::Split of) { return data::SampleSet::of_split(corpus, of).size(); };
    const auto [with_labels, without] = data::training_sets(corpus, config.labels().fraction(), config.run().seed());
    labelled = with_labels.size();
    unlabelled = without.size();
    cached = split(shards::Split::kUnlabelled) + split(shards::Split::kTrain);
    test = split(shards::Split::kTest);
    for (const shards::Manifest::Shard& shard : corpus.manifest().shards()) {
      all += shard.samples() - static_cast<std::uint64_t>(shard.withdrawn_size());
      bytes += shard.file_size();
      if (shard.bins() > 0) bins = shard.bins();
    }
  }

  std::uint64_t of(PictureStream::Pictures kind) const {
    switch (kind) {
      case PictureStream::Pictures::kAll:
        return cached;
      case PictureStream::Pictures::kLabelled:
        return labelled;
      case PictureStream::Pictures::kUnlabelled:
        break;
    }
    return unlabelled;
  }

  std::uint64_t all = 0, bytes = 0, labelled = 0, unlabelled = 0, cached = 0, test = 0;
  std::int64_t bins = 1;
};

class Planner {
 public:
  Planner(const config::Config& config, const run::RunFolder& folder, const PlanOptions& options)
      : config_(config), folder_(folder), options_(options) {
    if (std::filesystem::exists(folder.shards() / shards::kManifestFile)) pictures_.emplace(config, folder.shards());
  }

  PlannedStage plan(const Stage& stage) {
    PlannedStage planned{.stage = stage};
    find_verdict(planned);
    if (planned.verdict == Verdict::kComplete) {
      planned.disk_bytes = bytes_in(folder_.stage(stage.id()));
    } else if (stage.entry->makes_corpus) {
      planned.disk_bytes = source_bytes();  // pictures are stored as they are
    } else {
      estimate(planned);
    }
    return planned;
  }

 private:
  void find_verdict(PlannedStage& planned) {
    const Stage& stage = planned.stage;
    const std::filesystem::path folder = folder_.stage(stage.id());
    const std::optional<run::Completion> done = run::recorded_completion(folder);
    const bool trains = stage.entry->training != nullptr;
    // What all stages but the first are made from is known only then.
    const bool is_known = pictures_ || stage.entry->makes_corpus;
    if (!is_known) {
      planned.verdict = done ? Verdict::kRunsAgain : Verdict::kRuns;
      if (done) planned.reason = "its corpus is not packed";
      return;
    }
    if (done) {
      const std::string differing =
          runtime::differences(done->inputs, stage.entry->inputs(config_, folder_, stage.name));
      if (!differing.empty()) {
        planned.verdict = trains ? Verdict::kRefused : Verdict::kRunsAgain;
        planned.reason = differing;
        return;
      }
      for (const std::filesystem::path& product : done->products) {
        if (std::filesystem::exists(folder / product)) continue;
        planned.verdict = Verdict::kRunsAgain;
        planned.reason = fmt::format("{} is missing", product.native());
        return;
      }
      planned.verdict = Verdict::kComplete;
      planned.images = done->images;
      planned.seconds = done->seconds;
      return;
    }
    if (trains) find_checkpoint(planned, folder / "checkpoints");
  }

  void find_checkpoint(PlannedStage& planned, const std::filesystem::path& folder) {
    const Stage& stage = planned.stage;
    const auto checkpoints = training::list_checkpoints(folder);
    const auto newest = std::ranges::find_if(checkpoints, &training::CheckpointInfo::is_committed);
    if (newest == checkpoints.end()) return;
    const training::State state = training::read_checkpoint_state(newest->path);
    const Inputs before(std::map<std::string, std::string>(state.inputs().begin(), state.inputs().end()));
    const std::string differing = runtime::differences(before, stage.entry->inputs(config_, folder_, stage.name));
    planned.verdict = differing.empty() ? Verdict::kGoesOn : Verdict::kRefused;
    planned.reason = differing.empty() ? fmt::format("after step {} of {}", newest->step,
                                                     stage.entry->training(config_, stage.name).training->steps())
                                       : differing;
    steps_done_[stage.id()] = newest->step;
  }

  void estimate(PlannedStage& planned) {
    const Stage& stage = planned.stage;
    if (stage.entry->training != nullptr) {
      estimate_training(planned, stage.entry->training(config_, stage.name));
    } else if (stage.entry->caches_towers && pictures_) {
      const config::Tower& tower = config::table_named(config_.towers(), stage.name);
      planned.images = pictures_->cached * tower.views().count();
      const models::EncoderShape shape = models::encoder_shape(tower.architecture());
      planned.disk_bytes = *planned.images * (features::feature_bytes(shape, /*with_tokens=*/false) + 32);
      planned.seconds = forward_seconds({.architecture = tower.architecture()}, *planned.images);
    } else if (stage.entry->pass != nullptr && pictures_) {
      const TeacherPass pass = stage.entry->pass(config_, stage.name);
      planned.images = pictures_->of(pass.pictures);
      planned.seconds = forward_seconds(pass.teacher, *planned.images * pass.views);
      const auto cost = options_.cost_of(forward_of(pass.teacher));
      if (cost) planned.disk_bytes = static_cast<std::uint64_t>(cost->parameters) * sizeof(float);
    } else if (stage.entry->judges && pictures_) {
      const std::uint64_t views = config_.evaluate().views() == config::ten_crop   ? 10
                                  : config_.evaluate().views() == config::mirrored ? 2
                                                                                   : 1;
      planned.images = pictures_->test * stage.judged.size();
      constexpr std::uint64_t kRowBytes = 128;  // of a prediction
      planned.disk_bytes = *planned.images * kRowBytes;
      double seconds = 0;
      for (const std::string& model : stage.judged) {
        const auto one = forward_seconds(model_source(config_, model), pictures_->test * views);
        if (!one) return;
        seconds += *one;
      }
      planned.seconds = seconds;
    }
  }

  // Of a model with a score head or a projector.
  std::optional<training::ModelCost> cost_of(const ModelSource& source, std::int64_t micro_batch,
                                             bool trains_encoder) const {
    return options_.cost_of({.encoder = source.architecture,
                             .image_size = source.image_size,
                             .outputs = pictures_ ? pictures_->bins : kUsualBins,
                             .batch = micro_batch,
                             .trains_encoder = trains_encoder});
  }

  void estimate_training(PlannedStage& planned, const TrainingSetup& setup) {
    const config::Training& training = *setup.training;
    const std::uint64_t done = steps_done_[setup.stage];
    const std::uint64_t steps = training.steps() > done ? training.steps() - done : 0;
    std::uint64_t batch = 0;
    for (const PictureStream& stream : setup.streams) batch += stream.batch;
    planned.images = steps * batch;
    const std::int64_t micro_batch = std::max<std::int64_t>(1, micro_batch_images(setup));
    const bool trains_encoder = training.encoder_rate() > 0;
    auto cost = cost_of(setup.source, micro_batch, trains_encoder);
    if (!cost) return;
    if (setup.partner) {
      const auto partner = cost_of(*setup.partner, micro_batch, trains_encoder);
      if (!partner) return;
      cost->training_seconds += partner->training_seconds;
      cost->forward_seconds += partner->forward_seconds;
      cost->parameters += partner->parameters;
      cost->activation_bytes += partner->activation_bytes;
    }
    const double micro_batches = std::ceil(static_cast<double>(training.micro_batches()) / options_.devices);
    double seconds =
        static_cast<double>(steps) * micro_batches * (cost->training_seconds + setup.forwards * cost->forward_seconds);
    for (const TowerUse& use : setup.towers) {
      planned.towers.push_back(planned_tower(use, *planned.images));
      if (use.is_cached) continue;
      if (!planned.towers.back().step_seconds) return;
      seconds += *planned.towers.back().step_seconds;
    }
    // How many pictures a teacher answers to before the first step is known when the corpus is packed.
    std::uint64_t answers = 0;
    for (const TeacherPass& pass : setup.passes) {
      if (!pictures_) break;
      seconds += forward_seconds(pass.teacher, pictures_->of(pass.pictures) * pass.views).value_or(0);
      answers += pictures_->of(pass.pictures) * answer_bytes(static_cast<std::uint64_t>(pictures_->bins));
    }
    planned.seconds = seconds;
    // Weights and their average; gradients and one or two means for what is trained.
    const auto model = static_cast<std::uint64_t>(cost->parameters) * sizeof(float);
    const bool one_mean =
        training.optimizer() == config::Training::sgd || training.optimizer() == config::Training::lars;
    const std::uint64_t optimizer = trains_encoder ? model * (one_mean ? 1 : 2) : 0;
    planned.memory_bytes =
        2 * model + (trains_encoder ? model : 0) + optimizer + cost->activation_bytes + kept_bytes(setup);
    // The newest, and one that is being written; the model itself.
    const std::uint64_t kept = training.keep_checkpoints() + training.keep_best() + 1 +
                               (training.keep_every() > 0 ? training.steps() / training.keep_every() : 0);
    planned.disk_bytes = kept * (2 * model + optimizer) + model + answers;
  }

  // Of rendered views, at most.
  std::uint64_t kept_bytes(const TrainingSetup& setup) const {
    const auto most = static_cast<std::uint64_t>(config_.data().keep_views() * 0x1p30);
    if (setup.kept_views == 0 || !pictures_) return setup.kept_views == 0 ? 0 : most;
    const int side = models::encoder_shape(setup.source.architecture, setup.source.image_size).image_size;
    return std::min(most, pictures_->cached * setup.kept_views * batches::pixel_bytes(1, side));
  }

  PlannedTower planned_tower(const TowerUse& use, std::uint64_t images) const {
    PlannedTower planned{.tower = use.name,
                         .is_cached = use.is_cached,
                         .is_storable = use.views > 0,
                         .step_seconds = forward_seconds(use.source, images)};
    if (use.views > 0 && pictures_) {
      planned.views = pictures_->cached * use.views;
      planned.cache_bytes = *planned.views * use.view_bytes;
      planned.cache_seconds = forward_seconds(use.source, *planned.views);
    }
    return planned;
  }

  std::optional<double> forward_seconds(const ModelSource& source, std::uint64_t images) const {
    const auto cost = options_.cost_of(forward_of(source));
    if (!cost) return std::nullopt;
    return cost->forward_seconds * static_cast<double>(images) / kForwardBatch / options_.devices;
  }

  // Nothing where there are too many files to count now.
  std::optional<std::uint64_t> source_bytes() const {
    std::uint64_t bytes = 0;
    for (const config::Source& source : config_.sources()) {
      for (const std::string& path : {source.path(), source.images()}) {
        const auto found = path.empty() ? 0 : bytes_in(path);
        if (!found) return std::nullopt;
        bytes += *found;
      }
    }
    return bytes;
  }

  // Of all files below a folder, or of a file. Nothing where there are more than kMostFiles.
  static std::optional<std::uint64_t> bytes_in(const std::filesystem::path& path) {
    constexpr std::size_t kMostFiles = 200'000;
    std::error_code error;
    if (std::filesystem::is_regular_file(path, error)) return std::filesystem::file_size(path, error);
    std::uint64_t bytes = 0;
    std::size_t files = 0;
    for (std::filesystem::recursive_directory_iterator entry(path, error), end; !error && entry != end;
         entry.increment(error)) {
      if (++files > kMostFiles) return std::nullopt;
      std::error_code none;
      if (const auto size = entry->is_regular_file(none) ? entry->file_size(none) : 0; !none) bytes += size;
    }
    return bytes;
  }

  const config::Config& config_;
  const run::RunFolder& folder_;
  const PlanOptions& options_;
  std::optional<Pictures> pictures_;  // nothing before the corpus is packed
  std::map<std::string, std::uint64_t> steps_done_;
};

}  // namespace

const char* name_of(Verdict verdict) {
  switch (verdict) {
    case Verdict::kComplete:
      return "complete";
    case Verdict::kRuns:
      return "runs";
    case Verdict::kGoesOn:
      return "goes on";
    case Verdict::kRunsAgain:
      return "runs again";
    case Verdict::kRefused:
      break;
  }
  return "refused";
}

std::vector<PlannedStage> plan(const config::Config& config, const run::RunFolder& folder, const PlanOptions& options) {
  Planner planner(config, folder, options);
  std::vector<PlannedStage> planned;
  for (const Stage& stage : graph(config)) planned.push_back(planner.plan(stage));
  return planned;
}

}  // namespace cskd::stages
