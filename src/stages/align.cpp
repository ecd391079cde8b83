#include "stages/align.h"

#include <cstring>

#include <torch/torch.h>

#include "batches/batches.h"
#include "batches/sample_stream.h"
#include "config/tables.h"
#include "data/render_view.h"
#include "evaluation/validation.h"
#include "features/cache.h"
#include "features/cache_set.h"
#include "features/tower.h"
#include "losses/alignment.h"
#include "stages/inputs.h"
#include "stages/stream_objective.h"
#include "stages/train_stage.h"

namespace cskd::stages {
namespace {

struct AlignBatch {
  batches::SampleStream::Part part;
  at::Tensor pixels;   // [n, S, S, 3] uint8
  at::Tensor targets;  // [n, D] float16
};

class AlignSource final : public BatchSource<AlignBatch> {
 public:
  // `side`: of the model's input.
  AlignSource(const run::Context& context, const TrainingSetup& setup, const config::Tower& tower,
              std::shared_ptr<batches::CheckedCorpus> corpus, shards::CacheBinding binding, int side)
      : context_(context),
        tower_(tower),
        corpus_(std::move(corpus)),
        caches_(context, tower, corpus_->corpus(), std::move(binding)),
        stream_(context, *corpus_,
                data::SampleSet::of_split(corpus_->corpus(), shards::Split::kUnlabelled)
                    .followed_by(data::SampleSet::of_split(corpus_->corpus(), shards::Split::kTrain)),
                data::kStreamAlignOrder, setup.streams.front().key, setup.streams.front().batch),
        items_(static_cast<std::uint64_t>(micro_batch_images(setup))),
        side_(side) {}

  void start(std::uint64_t step) override {
    caches_.audit(stream_.samples(), step, *features::load_tower(context_, tower_));
  }

  AlignBatch begin(std::uint64_t position, std::uint64_t count) const override {
    return {.part = stream_.begin(position, count),
            .pixels = batches::pixel_room(count, side_, context_.communicator.device()),
            .targets =
                at::empty({static_cast<std::int64_t>(count), static_cast<std::int64_t>(caches_.width())}, at::kHalf)};
  }

  void fill(AlignBatch& batch, std::uint64_t item) const override {
    stream_.read(batch.part, item, [&](const data::SampleSource::Sample& sample, const data::SampleUse& use) {
      const auto cache = caches_.of(sample.ref.shard);
      // Each use takes the next of a picture's stored views.
      const std::uint64_t view = (cache->image_hash(sample.ref.row) + use.round) % caches_.views();
      const std::vector<std::uint16_t> bits = cache->pooled(sample.ref.row, view);
      std::memcpy(static_cast<char*>(batch.targets.data_ptr()) + 2 * bits.size() * item, bits.data(), 2 * bits.size());
      data::render_view(sample.bytes, features::view_of(cache->view(sample.ref.row, view)), side_,
                        batches::resize_mode(context_.config), batches::picture_in(batch.pixels, item));
    });
  }

  std::uint64_t items() const override { return items_; }
  std::uint64_t bytes() const override { return batches::pixel_bytes(items_, side_) + 2 * items_ * caches_.width(); }
  std::vector<data::SampleRef> samples(const AlignBatch& batch) const override { return batch.part.refs; }
  at::Tensor pixels(const AlignBatch& batch) const override { return batch.pixels; }
  const batches::CheckedCorpus& corpus() const override { return *corpus_; }

 private:
  const run::Context& context_;
  const config::Tower& tower_;
  std::shared_ptr<batches::CheckedCorpus> corpus_;
  features::CacheSet caches_;
  batches::SampleStream stream_;
  std::uint64_t items_;
  int side_;
};

// Distances to the tower's features.
BatchLoss align_loss(models::HeadedEncoder& model, const config::Align& settings, const AlignBatch& batch,
                     const at::Device& device) {
  const torch::Tensor predicted =
      model.forward(models::normalise(batches::to_device(batch.pixels, device), model.shape()));
  const torch::Tensor target = batches::to_device(batch.targets, device).to(at::kFloat);
  const torch::Tensor smooth_l1 = losses::whitened_smooth_l1(predicted, target);
  const torch::Tensor cosine = losses::cosine_distance(predicted, target);
  return {.loss = settings.smooth_l1_weight() * smooth_l1 + settings.cosine_weight() * cosine,
          .figures = {{"train/smooth_l1", smooth_l1.detach()}, {"train/cosine", cosine.detach()}}};
}

}  // namespace

TrainingSetup align_training(const config::Config& config, const std::string& name) {
  const config::Align& align = config::table_named(config.align(), name);
  const std::string stage = "align." + name;
  return {
      .stage = stage,
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
  return train_stage(context, setup, inputs, [&]() -> TaskParts {
    const models::EncoderShape teacher = models::encoder_shape(tower.architecture());
    const auto make = [&] {
      return inference::make_model(context, setup.source.architecture, setup.source.image_size, models::kProjector,
                                   teacher.pooled_width, "align");
    };
    inference::Model model = make();
    inference::Model average = make();
    start_weights(*model, "encoders." + align.encoder(), context);
    TaskParts parts{.corpus = std::make_shared<batches::CheckedCorpus>(context),
                    .model = std::make_shared<HeadedPair>(setup.stage, align.training(), std::move(model),
                                                          std::move(average), teacher.pooled_width),
                    .objective = nullptr,
                    .validation = {}};
    auto source = std::make_unique<AlignSource>(context, setup, tower, parts.corpus,
                                                features::cache_binding(context.config, tower, teacher),
                                                parts.model->shape().image_size);
    parts.objective = std::make_unique<StreamObjective<AlignBatch>>(
        context, setup, std::move(source),
        [&align, pair = parts.model, device = context.communicator.device()](const AlignBatch& batch, std::uint64_t) {
          return align_loss(pair->model(), align, batch, device);
        });
    parts.validation = {.run = [pair = parts.model, corpus = parts.corpus,
                                validation = std::make_shared<evaluation::FeatureValidation>(
                                    *parts.corpus, context, tower)] { return (*validation)(pair->average_model()); },
                        .main_figure = "validation/cosine"};
    return parts;
  });
}

}  // namespace cskd::stages
