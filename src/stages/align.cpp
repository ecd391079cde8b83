#include "stages/align.h"

#include <cstring>

#include <torch/torch.h>

#include "batches/batches.h"
#include "batches/micro_batch_loader.h"
#include "batches/sample_stream.h"
#include "config/tables.h"
#include "data/render_view.h"
#include "evaluation/validation.h"
#include "features/cache.h"
#include "features/cache_set.h"
#include "features/tower.h"
#include "losses/alignment.h"
#include "stages/inputs.h"
#include "stages/model_stage.h"

namespace cskd::stages {
namespace {

struct AlignBatch {
  batches::SampleStream::Part part;
  at::Tensor pixels;   // [n, S, S, 3] uint8
  at::Tensor targets;  // [n, D] float16
};

class AlignStage : public ModelStage {
 public:
  AlignStage(const run::Context& context, const config::Align& settings, const config::Tower& tower,
             const TrainingSetup& setup, inference::Headed model, inference::Headed average,
             shards::CacheBinding binding)
      : ModelStage(setup.stage, settings.training(), std::move(model), std::move(average),
                   static_cast<std::int64_t>(binding.width)),
        context_(context),
        settings_(settings),
        tower_(tower),
        corpus_(context),
        caches_(context, tower, corpus_.corpus(), std::move(binding)),
        stream_(context, corpus_,
                data::SampleSet::of_split(corpus_.corpus(), shards::Split::kUnlabelled)
                    .followed_by(data::SampleSet::of_split(corpus_.corpus(), shards::Split::kTrain)),
                data::kStreamAlignOrder, setup.streams.front().key, setup.streams.front().batch) {}

  void start(std::uint64_t step) override {
    caches_.audit(stream_.samples(), step, *features::load_tower(context_, tower_));
    const auto samples = static_cast<std::uint64_t>(micro_batch_images());
    loader_.emplace(context_, name(), settings_.training(), step,
                    batches::MicroBatchMaker<AlignBatch>{
                        .begin = [this](std::uint64_t position, std::uint64_t count) { return begin(position, count); },
                        .fill = [this](AlignBatch& batch, std::uint64_t item) { fill(batch, item); },
                        .items = samples,
                        .bytes = batches::pixel_bytes(samples, shape_size_) + 2 * samples * caches_.width()});
  }

  training::MicroBatchResult micro_batch(std::uint64_t, std::uint64_t) override {
    training::MicroBatchResult result;
    AlignBatch batch = loader_->next(result.data_wait);
    const at::Device device = context_.communicator.device();
    const torch::Tensor predicted =
        model().forward(models::normalise(batches::to_device(batch.pixels, device), model().shape()));
    const torch::Tensor target = batches::to_device(batch.targets, device).to(at::kFloat);
    const torch::Tensor smooth_l1 = losses::whitened_smooth_l1(predicted, target);
    const torch::Tensor cosine = losses::cosine_distance(predicted, target);
    result.loss = settings_.smooth_l1_weight() * smooth_l1 + settings_.cosine_weight() * cosine;
    result.figures = {{"train/smooth_l1", smooth_l1.detach()}, {"train/cosine", cosine.detach()}};
    result.images = batch.pixels.size(0);
    describe(result, corpus_, batch.pixels, std::move(batch.part.refs));
    return result;
  }

  std::vector<std::pair<std::string, double>> validate() override { return validation_(average_model()); }
  std::string main_figure() const override { return "validation/cosine"; }

  std::int64_t micro_batch_images() const override {
    return settings_.training().global_batch() / settings_.training().micro_batches();
  }

 private:
  AlignBatch begin(std::uint64_t position, std::uint64_t count) const {
    return {.part = stream_.begin(position, count),
            .pixels = batches::pixel_room(count, shape_size_, context_.communicator.device()),
            .targets =
                at::empty({static_cast<std::int64_t>(count), static_cast<std::int64_t>(caches_.width())}, at::kHalf)};
  }

  void fill(AlignBatch& batch, std::uint64_t item) const {
    stream_.read(batch.part, item, [&](const data::SampleSource::Sample& sample, const data::SampleUse& use) {
      const auto cache = caches_.of(sample.ref.shard);
      // Each use takes the next of a picture's stored views.
      const std::uint64_t view = (cache->image_hash(sample.ref.row) + use.round) % caches_.views();
      const std::vector<std::uint16_t> bits = cache->pooled(sample.ref.row, view);
      std::memcpy(static_cast<char*>(batch.targets.data_ptr()) + 2 * bits.size() * item, bits.data(), 2 * bits.size());
      data::render_view(sample.bytes, features::view_of(cache->view(sample.ref.row, view)), shape_size_,
                        batches::resize_mode(context_.config), batches::picture_in(batch.pixels, item));
    });
  }

  const run::Context& context_;
  const config::Align& settings_;
  const config::Tower& tower_;
  batches::CheckedCorpus corpus_;
  evaluation::FeatureValidation validation_{corpus_, context_, tower_};
  features::CacheSet caches_;
  batches::SampleStream stream_;
  int shape_size_ = model().shape().image_size;
  std::optional<batches::MicroBatchLoader<AlignBatch>> loader_;  // last: its threads use the rest
};

}  // namespace

TrainingSetup align_training(const config::Config& config, const std::string& name) {
  const config::Align& align = config::table_named(config.align(), name);
  const std::string stage = "align." + name;
  return {.stage = stage,
          .training = &align.training(),
          .source = model_source(config, "encoders." + align.encoder()),
          .streams = {{PictureStream::Pictures::kAll, stage + ".training.global_batch", align.training().global_batch()}},
          .validation_pictures = 1,
          .learns_scores = false};
}

run::StageOutcome run_align(const run::Context& context, const std::string& name) {
  const config::Align& align = config::table_named(context.config.align(), name);
  const config::Tower& tower = config::table_named(context.config.towers(), align.towers(0));
  const TrainingSetup setup = align_training(context.config, name);
  const runtime::Inputs inputs = align_inputs(context.config, context.folder, name);
  return train_stage(context, setup, inputs, [&]() -> std::unique_ptr<ModelStage> {
    const models::EncoderShape teacher = models::encoder_shape(tower.architecture());
    const auto make = [&] {
      return inference::make_model(context, setup.source.architecture, setup.source.image_size, models::kProjector,
                                   teacher.pooled_width, "align");
    };
    inference::Headed model = make();
    inference::Headed average = make();
    start_weights(*model, "encoders." + align.encoder(), context);
    return std::make_unique<AlignStage>(context, align, tower, setup, std::move(model), std::move(average),
                                        features::cache_binding(context.config, tower, teacher));
  });
}

}  // namespace cskd::stages
