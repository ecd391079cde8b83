#include "stages/align.h"

#include <algorithm>
#include <memory>
#include <span>
#include <utility>
#include <vector>

#include <fmt/format.h>
#include <torch/types.h>

#include "batches/batches.h"
#include "batches/sample_stream.h"
#include "config/tables.h"
#include "config/toml_writer.h"
#include "data/render_view.h"
#include "data/view_series.h"
#include "data/view_store.h"
#include "evaluation/validation.h"
#include "features/cache.h"
#include "features/feature_queue.h"
#include "features/targets.h"
#include "losses/alignment.h"
#include "runtime/error.h"
#include "stages/inputs.h"
#include "stages/mix.h"
#include "stages/stream_objective.h"
#include "stages/train_stage.h"

namespace cskd::stages {
namespace {

constexpr std::uint64_t kLongestQueue = 16384;  // unless the configuration says more

std::vector<const config::Tower*> towers_of(const config::Config& config, const config::Align& align) {
  std::vector<const config::Tower*> towers;
  for (const std::string& name : align.towers()) towers.push_back(&config::table_named(config.towers(), name));
  return towers;
}

bool learns_tokens(const config::Align& align) {
  return align.token_smooth_l1_weight() > 0 || align.token_cosine_weight() > 0;
}

// What no cache holds.
bool needs_online(const config::Align& align, const std::vector<const config::Tower*>& towers) {
  return learns_tokens(align) || align.mixup() > 0 ||
         std::ranges::any_of(towers, [](const config::Tower* tower) { return tower->views().count() == 0; });
}

bool reads_caches(const config::Config& config, const config::Align& align) {
  if (align.targets() == config::Align::auto_) return !needs_online(align, towers_of(config, align));
  return align.targets() == config::Align::cached;
}

struct AlignBatch {
  batches::SampleStream::Part part;
  at::Tensor pixels;                        // [n, S, S, 3] uint8
  std::vector<features::TargetRoom> rooms;  // of each tower
};

class AlignSource final : public BatchSource<AlignBatch> {
 public:
  // `side`: of the model's input.
  AlignSource(const run::Context& context, const TrainingSetup& setup, const config::Views& views,
              std::shared_ptr<batches::CheckedCorpus> corpus,
              std::vector<std::shared_ptr<features::TargetSource>> targets, int side)
      : context_(context),
        views_(views),
        corpus_(std::move(corpus)),
        targets_(std::move(targets)),
        stream_(context, *corpus_,
                data::SampleSet::of_split(corpus_->corpus(), shards::Split::kUnlabelled)
                    .followed_by(data::SampleSet::of_split(corpus_->corpus(), shards::Split::kTrain)),
                data::kStreamAlignOrder, setup.streams.front().key, setup.streams.front().batch),
        items_(static_cast<std::uint64_t>(micro_batch_images(setup))),
        side_(side),
        store_(static_cast<std::uint64_t>(context.config.data().keep_views() * 0x1p30), side) {}

  void start(std::uint64_t step) override {
    for (const auto& target : targets_) target->start(stream_.samples(), step);
  }

  AlignBatch begin(std::uint64_t position, std::uint64_t count) const override {
    AlignBatch batch{.part = stream_.begin(position, count),
                     .pixels = batches::pixel_room(count, side_, context_.communicator.device()),
                     .rooms = {}};
    for (const auto& target : targets_) batch.rooms.push_back(target->begin(batch.pixels));
    return batch;
  }

  void fill(AlignBatch& batch, std::uint64_t item) const override {
    stream_.read(batch.part, item, [&](const data::SampleSource::Sample& sample, const data::SampleUse& use) {
      const std::uint64_t picture = sample.shard.hash(sample.ref.row).prefix();
      const std::uint64_t number = data::view_of_use(picture, use.round, views_.count(), views_.whole());
      const data::View view = targets_.front()->view(sample, number);
      const std::span<std::uint8_t> pixels = batches::picture_in(batch.pixels, item);
      if (!store_.find(sample.ref, number, pixels)) {
        data::render_view(sample.bytes, view, side_, batches::resize_mode(context_.config), pixels);
        if (views_.count() > 0) store_.keep(sample.ref, number, pixels);
      }
      for (std::size_t i = 0; i < targets_.size(); ++i) targets_[i]->fill(batch.rooms[i], item, sample, number, view);
    });
  }

  std::uint64_t items() const override { return items_; }
  std::uint64_t bytes() const override {
    std::uint64_t bytes = batches::pixel_bytes(items_, side_);
    for (const auto& target : targets_) bytes += target->bytes(items_);
    return bytes;
  }
  std::vector<data::SampleRef> samples(const AlignBatch& batch) const override { return batch.part.refs; }
  std::uint64_t pictures() const { return stream_.samples().size(); }
  at::Tensor pixels(const AlignBatch& batch) const override { return batch.pixels; }
  const batches::CheckedCorpus& corpus() const override { return *corpus_; }

 private:
  const run::Context& context_;
  const config::Views& views_;
  std::shared_ptr<batches::CheckedCorpus> corpus_;
  std::vector<std::shared_ptr<features::TargetSource>> targets_;
  batches::SampleStream stream_;
  std::uint64_t items_;
  int side_;
  mutable data::ViewStore store_;
};

// Distances to the features of all towers.
class AlignLoss {
 public:
  AlignLoss(const run::Context& context, const config::Align& align, std::shared_ptr<HeadedPair> model,
            std::vector<std::shared_ptr<features::TargetSource>> targets, std::shared_ptr<features::FeatureQueue> queue)
      : context_(context),
        align_(align),
        model_(std::move(model)),
        targets_(std::move(targets)),
        queue_(std::move(queue)) {
    for (const config::Tower* tower : towers_of(context.config, align))
      shapes_.push_back(models::encoder_shape(tower->architecture()));
  }

  BatchLoss operator()(const AlignBatch& batch) const {
    const double share = share_of(batch.part.position);
    models::HeadedEncoder& model = model_->model();
    const at::Device device = context_.communicator.device();
    const torch::Tensor images =
        features::mixed(models::normalise(batches::to_device(batch.pixels, device), model.shape()), share);
    const models::Features projected =
        learns_tokens(align_) ? model.project(images)
                              : models::Features{.pooled = model.forward(images), .tokens = {}, .attention = {}};
    Terms pooled{.name = "train/"};
    Terms tokens{.name = "train/token_"};
    const torch::Tensor others = queue_ ? queue_->features() : torch::Tensor();
    torch::Tensor relational;
    std::vector<torch::Tensor> for_queue;
    std::int64_t pooled_from = 0;
    std::int64_t tokens_from = 0;
    for (std::size_t i = 0; i < targets_.size(); ++i) {
      const double weight = align_.tower_weights().empty() ? 1 : align_.tower_weights(static_cast<int>(i));
      const features::Target target = targets_[i]->of(batch.rooms[i], share, model.settings());
      const std::int64_t width = target.pooled.size(1);
      const torch::Tensor predicted = projected.pooled.narrow(1, pooled_from, width);
      pooled.add(weight, predicted, target.pooled);
      if (queue_) {
        add_to(relational,
               weight * losses::relational_distance(predicted, target.pooled, others.narrow(1, pooled_from, width),
                                                    align_.relational().temperature()));
        for_queue.push_back(losses::directions(losses::whiten(target.pooled)));
      }
      pooled_from += width;
      if (!target.tokens.defined()) continue;
      const int own = model.shape().grid;
      const int side = std::min(own, shapes_[i].grid);
      tokens.add(weight, losses::on_grid(projected.tokens.narrow(2, tokens_from, target.tokens.size(2)), own, side),
                 losses::on_grid(target.tokens, shapes_[i].grid, side));
      tokens_from += target.tokens.size(2);
    }
    BatchLoss loss;
    pooled.into(loss, align_.smooth_l1_weight(), align_.cosine_weight());
    if (learns_tokens(align_)) tokens.into(loss, align_.token_smooth_l1_weight(), align_.token_cosine_weight());
    if (queue_) {
      add_to(loss.loss, align_.relational().weight() * relational);
      loss.figures.emplace_back("train/relational", relational.detach());
      loss.for_queue = torch::cat(for_queue, 1);
    }
    return loss;
  }

 private:
  static void add_to(torch::Tensor& sum, const torch::Tensor& term) { sum = sum.defined() ? sum + term : term; }

  // Weighted sums over towers.
  struct Terms {
    const char* name;
    torch::Tensor smooth_l1 = {}, cosine = {};

    void add(double weight, const torch::Tensor& predicted, const torch::Tensor& target) {
      add_to(smooth_l1, weight * losses::whitened_smooth_l1(predicted, target));
      add_to(cosine, weight * losses::cosine_distance(predicted, target));
    }

    void into(BatchLoss& sum, double smooth_l1_weight, double cosine_weight) const {
      add_to(sum.loss, smooth_l1_weight * smooth_l1 + cosine_weight * cosine);
      sum.figures.emplace_back(std::string(name) + "smooth_l1", smooth_l1.detach());
      sum.figures.emplace_back(std::string(name) + "cosine", cosine.detach());
    }
  };

  // Of MixUp, for the micro-batch that begins at `position` of its stream.
  double share_of(std::uint64_t position) const {
    if (align_.mixup() == 0) return 1;
    return mix_share(context_.config.run().seed(), data::kStreamMixUp, position, align_.mixup());
  }

  const run::Context& context_;
  const config::Align& align_;
  std::shared_ptr<HeadedPair> model_;
  std::vector<std::shared_ptr<features::TargetSource>> targets_;
  std::shared_ptr<features::FeatureQueue> queue_;  // null where nothing is compared
  std::vector<models::EncoderShape> shapes_;
};

std::vector<std::shared_ptr<features::TargetSource>> make_targets(const run::Context& context,
                                                                  const config::Align& align,
                                                                  const data::Corpus& corpus) {
  std::vector<std::shared_ptr<features::TargetSource>> targets;
  for (const config::Tower* tower : towers_of(context.config, align)) {
    targets.push_back(reads_caches(context.config, align)
                          ? features::cached_targets(context, *tower, corpus)
                          : features::online_targets(context, *tower, learns_tokens(align)));
  }
  return targets;
}

// Of `pictures` pictures with `width` features.
std::shared_ptr<features::FeatureQueue> make_queue(const run::Context& context, const config::Relational& relational,
                                                   std::uint64_t pictures, std::int64_t width) {
  if (relational.weight() == 0) return nullptr;
  const std::uint64_t length =
      relational.queue() > 0 ? relational.queue() : std::clamp<std::uint64_t>(pictures / 4, 1, kLongestQueue);
  return std::make_shared<features::FeatureQueue>(static_cast<std::int64_t>(length), width, context.communicator);
}

}  // namespace

bool align_reads_caches(const config::Config& config, const std::string& name) {
  return reads_caches(config, config::table_named(config.align(), name));
}

void require_align(const config::Config& config, const std::string& name) {
  const config::Align& align = config::table_named(config.align(), name);
  const std::vector<const config::Tower*> towers = towers_of(config, align);
  const std::string table = "align." + name;
  if (!align.tower_weights().empty() && align.tower_weights_size() != align.towers_size()) {
    throw runtime::UsageError(fmt::format("{}.tower_weights has {} weights for {} towers", table,
                                          align.tower_weights_size(), align.towers_size()));
  }
  if (align.smooth_l1_weight() + align.cosine_weight() + align.token_smooth_l1_weight() + align.token_cosine_weight() +
          align.relational().weight() ==
      0)
    throw runtime::UsageError(fmt::format("{}: all weights of its losses are 0, so it would learn nothing", table));
  if (align.targets() == config::Align::cached && needs_online(align, towers)) {
    const char* what = learns_tokens(align) ? "tokens (token_smooth_l1_weight, token_cosine_weight)"
                       : align.mixup() > 0  ? "mixed pictures (mixup)"
                                            : "new views at each use (views.count = 0)";
    throw runtime::UsageError(
        fmt::format("{0}.targets is \"cached\", but a cache does not hold {1}: set {0}.targets to "
                    "\"auto\"",
                    table, what));
  }
  for (const config::Tower* tower : towers) {
    if (std::ranges::count(towers, tower) > 1)
      throw runtime::UsageError(fmt::format("{}.towers names '{}' twice", table, tower->name()));
    features::require_views(*tower, reads_caches(config, align));
    if (config::settings_of(tower->views(), "") != config::settings_of(towers.front()->views(), "")) {
      throw runtime::UsageError(fmt::format(
          "{}: towers.{}.views differ from towers.{}.views, but the student sees each picture once for all towers: "
          "give both the same",
          table, tower->name(), towers.front()->name()));
    }
  }
}

TrainingSetup align_training(const config::Config& config, const std::string& name) {
  const config::Align& align = config::table_named(config.align(), name);
  const std::string stage = "align." + name;
  TrainingSetup setup{
      .stage = stage,
      .training = &align.training(),
      .source = model_source(config, "encoders." + align.encoder()),
      .streams = {{PictureStream::Pictures::kAll, stage + ".training.global_batch", align.training().global_batch()}},
      .validation_pictures = 1,
      .learns_scores = false,
      .kept_views = towers_of(config, align).front()->views().count()};
  for (const config::Tower* tower : towers_of(config, align)) {
    setup.towers.push_back(
        {.name = "towers." + tower->name(),
         .source = model_source(config, "towers." + tower->name()),
         .is_cached = reads_caches(config, align),
         .views = align.mixup() > 0 ? 0 : tower->views().count(),
         .view_bytes = features::feature_bytes(models::encoder_shape(tower->architecture()), learns_tokens(align))});
  }
  return setup;
}

run::StageOutcome run_align(const run::Context& context, const std::string& name) {
  const config::Align& align = config::table_named(context.config.align(), name);
  const std::vector<const config::Tower*> towers = towers_of(context.config, align);
  const TrainingSetup setup = align_training(context.config, name);
  const runtime::Inputs inputs = align_inputs(context.config, context.folder, name);
  return train_stage(context, setup, inputs, [&]() -> TaskParts {
    std::int64_t pooled = 0;
    std::int64_t tokens = 0;
    for (const config::Tower* tower : towers) {
      const models::EncoderShape shape = models::encoder_shape(tower->architecture());
      pooled += shape.pooled_width;
      tokens += learns_tokens(align) ? shape.token_width : 0;
    }
    const auto make = [&] {
      return inference::make_model(context, setup.source.architecture, setup.source.image_size, models::kProjector,
                                   pooled, "align", tokens);
    };
    inference::Model model = make();
    inference::Model average = make();
    start_weights(*model, "encoders." + align.encoder(), context);
    TaskParts parts{.corpus = std::make_shared<batches::CheckedCorpus>(context),
                    .model = std::make_shared<HeadedPair>(setup.stage, align.training(), std::move(model),
                                                          std::move(average), pooled),
                    .objective = nullptr,
                    .validation = {}};
    const auto targets = make_targets(context, align, parts.corpus->corpus());
    auto source = std::make_unique<AlignSource>(context, setup, towers.front()->views(), parts.corpus, targets,
                                                parts.model->shape().image_size);
    const auto queue = make_queue(context, align.relational(), source->pictures(), pooled);
    parts.objective = std::make_unique<StreamObjective<AlignBatch>>(
        context, setup, std::move(source),
        [loss = AlignLoss(context, align, parts.model, targets, queue)](const AlignBatch& batch, std::uint64_t) {
          return loss(batch);
        },
        queue);
    parts.validation = {.run = [pair = parts.model, corpus = parts.corpus,
                                validation = std::make_shared<evaluation::FeatureValidation>(
                                    *parts.corpus, context, towers)] { return (*validation)(pair->average_model()); },
                        .main_figure = "validation/cosine"};
    return parts;
  });
}

}  // namespace cskd::stages
