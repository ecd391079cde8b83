#include <algorithm>
#include <optional>
#include <utility>

#include <torch/types.h>

#include "batches/batches.h"
#include "batches/sample_stream.h"
#include "config/tables.h"
#include "data/render_view.h"
#include "evaluation/validation.h"
#include "losses/distribution.h"
#include "runtime/error.h"
#include "stages/inputs.h"
#include "stages/model_source.h"
#include "stages/score.h"
#include "stages/stream_objective.h"
#include "stages/train_stage.h"

namespace cskd::stages {
namespace {

struct LabelledBatch {
  batches::SampleStream::Part part;
  at::Tensor pixels;  // [n, S, S, 3] uint8
  at::Tensor labels;  // [n, K] float32
};

// Strong views of the pictures whose labels are used.
class LabelledSource final : public BatchSource<LabelledBatch> {
 public:
  LabelledSource(const run::Context& context, const TrainingSetup& setup,
                 std::shared_ptr<batches::CheckedCorpus> corpus, std::int64_t bins, int side)
      : context_(context),
        corpus_(std::move(corpus)),
        bins_(bins),
        stream_(context, *corpus_,
                data::training_sets(corpus_->corpus(), context.config.labels().fraction(), context.config.run().seed())
                    .labelled,
                data::kStreamLabelledOrder, setup.streams.front().key, setup.streams.front().batch),
        items_(static_cast<std::uint64_t>(micro_batch_images(setup))),
        side_(side) {}

  LabelledBatch begin(std::uint64_t position, std::uint64_t count) const override {
    return {.part = stream_.begin(position, count),
            .pixels = batches::pixel_room(count, side_, context_.communicator.device()),
            .labels = at::empty({static_cast<std::int64_t>(count), bins_})};
  }

  void fill(LabelledBatch& batch, std::uint64_t item) const override {
    stream_.read(batch.part, item, [&](const data::SampleSource::Sample& sample, const data::SampleUse&) {
      const auto [shard, row] = std::pair(&sample.shard, sample.ref.row);
      runtime::Philox random(context_.config.run().seed(), data::kStreamStrongViews, batch.part.number(item));
      data::render_view(sample.bytes, data::strong_view(random, shard->width(row), shard->height(row)), side_,
                        batches::resize_mode(context_.config), batches::picture_in(batch.pixels, item));
      std::ranges::copy(shard->histogram(row), batches::row_of(batch.labels, item).begin());
    });
  }

  std::uint64_t items() const override { return items_; }
  std::uint64_t bytes() const override { return batches::pixel_bytes(items_, side_); }
  std::vector<data::SampleRef> samples(const LabelledBatch& batch) const override { return batch.part.refs; }
  at::Tensor pixels(const LabelledBatch& batch) const override { return batch.pixels; }
  const batches::CheckedCorpus& corpus() const override { return *corpus_; }

 private:
  const run::Context& context_;
  std::shared_ptr<batches::CheckedCorpus> corpus_;
  std::int64_t bins_;
  batches::SampleStream stream_;
  std::uint64_t items_;
  int side_;
};

// Squared EMD to the labels.
BatchLoss labelled_loss(models::HeadedEncoder& model, const LabelledBatch& batch, const at::Device& device) {
  const torch::Tensor logits =
      model.forward(models::normalise(batches::to_device(batch.pixels, device), model.shape()));
  return {.loss = losses::squared_emd(torch::softmax(logits, 1), batch.labels.to(device)).mean(), .figures = {}};
}

}  // namespace

TrainingSetup finetune_training(const config::Config& config, const std::string& name) {
  const config::Finetune& finetune = config::table_named(config.finetune(), name);
  const std::string stage = "finetune." + name;
  return {.stage = stage,
          .training = &finetune.training(),
          .source = model_source(config, finetune.from()),
          .streams = {{PictureStream::Pictures::kLabelled, stage + ".training.global_batch",
                       finetune.training().global_batch()}}};
}

run::StageOutcome run_finetune(const run::Context& context, const std::string& name) {
  const TrainingSetup setup = finetune_training(context.config, name);
  const runtime::Inputs inputs = finetune_inputs(context.config, context.folder, name);
  return train_stage(context, setup, inputs, [&]() -> TaskParts {
    auto corpus = std::make_shared<batches::CheckedCorpus>(context);
    const auto bins = static_cast<std::int64_t>(batches::bin_centres(corpus->corpus()).size());
    const auto make = [&] { return make_scorer(context, setup.source, bins, purpose_of(setup.source)); };
    inference::Model model = make();
    inference::Model average = make();
    start_weights(*model, config::table_named(context.config.finetune(), name).from(), context);
    TaskParts parts{
        .corpus = corpus,
        .model = std::make_shared<HeadedPair>(setup.stage, *setup.training, std::move(model), std::move(average), bins),
        .objective = nullptr,
        .validation = {}};
    parts.objective = std::make_unique<StreamObjective<LabelledBatch>>(
        context, setup, std::make_unique<LabelledSource>(context, setup, corpus, bins, parts.model->shape().image_size),
        [pair = parts.model, device = context.communicator.device()](const LabelledBatch& batch, std::uint64_t) {
          return labelled_loss(pair->model(), batch, device);
        });
    parts.validation = score_validation(context, corpus, parts.model);
    return parts;
  });
}

}  // namespace cskd::stages
