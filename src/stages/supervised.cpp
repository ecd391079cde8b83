#include <algorithm>
#include <optional>
#include <utility>

#include <torch/torch.h>

#include "batches/batches.h"
#include "batches/micro_batch_loader.h"
#include "batches/sample_stream.h"
#include "config/tables.h"
#include "data/render_view.h"
#include "evaluation/validation.h"
#include "losses/distribution.h"
#include "runtime/error.h"
#include "stages/inputs.h"
#include "stages/model_stage.h"
#include "stages/score.h"
#include "stages/model_source.h"

namespace cskd::stages {
namespace {

struct LabelledBatch {
  batches::SampleStream::Part part;
  at::Tensor pixels;  // [n, S, S, 3] uint8
  at::Tensor labels;  // [n, K] float32
};

// Squared EMD to the labels of strong views.
class SupervisedStage : public ModelStage {
 public:
  SupervisedStage(const run::Context& context, const TrainingSetup& setup, inference::Headed model,
                  inference::Headed average, std::unique_ptr<batches::CheckedCorpus> corpus, std::int64_t bins)
      : ModelStage(setup.stage, *setup.training, std::move(model), std::move(average), bins),
        context_(context),
        training_(*setup.training),
        corpus_(std::move(corpus)),
        bins_(bins),
        stream_(context, *corpus_,
                data::training_sets(corpus_->corpus(), context.config.labels().fraction(), context.config.run().seed())
                    .labelled,
                data::kStreamLabelledOrder, setup.streams.front().key, setup.streams.front().batch) {}

  void start(std::uint64_t step) override {
    const auto samples = static_cast<std::uint64_t>(micro_batch_images());
    loader_.emplace(context_, name(), training_, step,
                    batches::MicroBatchMaker<LabelledBatch>{
                        .begin = [this](std::uint64_t position, std::uint64_t count) { return begin(position, count); },
                        .fill = [this](LabelledBatch& batch, std::uint64_t item) { fill(batch, item); },
                        .items = samples,
                        .bytes = batches::pixel_bytes(samples, image_size_)});
  }

  training::MicroBatchResult micro_batch(std::uint64_t, std::uint64_t) override {
    training::MicroBatchResult result;
    LabelledBatch batch = loader_->next(result.data_wait);
    const at::Device device = context_.communicator.device();
    const torch::Tensor logits =
        model().forward(models::normalise(batches::to_device(batch.pixels, device), model().shape()));
    result.loss = losses::squared_emd(torch::softmax(logits, 1), batch.labels.to(device)).mean();
    result.images = batch.pixels.size(0);
    describe(result, *corpus_, batch.pixels, std::move(batch.part.refs));
    return result;
  }

  std::vector<std::pair<std::string, double>> validate() override { return validation_(average_model()); }
  std::string main_figure() const override { return "validation/srcc"; }

  std::int64_t micro_batch_images() const override { return training_.global_batch() / training_.micro_batches(); }

 private:
  LabelledBatch begin(std::uint64_t position, std::uint64_t count) const {
    return {.part = stream_.begin(position, count),
            .pixels = batches::pixel_room(count, image_size_, context_.communicator.device()),
            .labels = at::empty({static_cast<std::int64_t>(count), bins_})};
  }

  void fill(LabelledBatch& batch, std::uint64_t item) const {
    stream_.read(batch.part, item, [&](const data::SampleSource::Sample& sample, const data::SampleUse&) {
      const auto [shard, row] = std::pair(&sample.shard, sample.ref.row);
      runtime::Philox random(context_.config.run().seed(), data::kStreamStrongViews, batch.part.number(item));
      data::render_view(sample.bytes, data::strong_view(random, shard->width(row), shard->height(row)), image_size_,
                        batches::resize_mode(context_.config), batches::picture_in(batch.pixels, item));
      std::ranges::copy(shard->histogram(row), batches::row_of(batch.labels, item).begin());
    });
  }

  const run::Context& context_;
  const config::Training& training_;
  std::unique_ptr<batches::CheckedCorpus> corpus_;
  evaluation::ScoreValidation validation_{*corpus_, context_};
  std::int64_t bins_;
  batches::SampleStream stream_;
  int image_size_ = model().shape().image_size;
  std::optional<batches::MicroBatchLoader<LabelledBatch>> loader_;  // last: its threads use the rest
};

// Purpose of the random numbers of first weights: whether a model starts from what was trained or not, whatever its
// name.
const char* purpose_of(const ModelSource& source) { return source.is_trained ? "finetune" : "baseline"; }

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
  return train_stage(context, setup, inputs, [&]() -> std::unique_ptr<ModelStage> {
    auto corpus = std::make_unique<batches::CheckedCorpus>(context);
    const auto bins = static_cast<std::int64_t>(batches::bin_centres(corpus->corpus()).size());
    const auto make = [&] {
      return inference::make_model(context, setup.source.architecture, setup.source.image_size, models::kScoreHead,
                                   bins, purpose_of(setup.source));
    };
    inference::Headed model = make();
    inference::Headed average = make();
    start_weights(*model, config::table_named(context.config.finetune(), name).from(), context);
    return std::make_unique<SupervisedStage>(context, setup, std::move(model), std::move(average), std::move(corpus),
                                             bins);
  });
}

}  // namespace cskd::stages
