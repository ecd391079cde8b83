#include <optional>

#include <torch/torch.h>

#include "losses/distribution.h"
#include "runtime/error.h"
#include "stages/align.h"
#include "stages/batches.h"
#include "stages/model_stage.h"
#include "stages/score.h"

namespace cskd::stages {
namespace {

struct LabelledBatch {
  at::Tensor pixels;  // [n, S, S, 3] uint8
  at::Tensor labels;  // [n, K] float32
};

// Squared EMD to the labels of strong views.
class SupervisedStage : public ModelStage {
 public:
  SupervisedStage(const Context& context, std::string name, const config::Training& training, Headed model,
                  Headed average, std::unique_ptr<data::Corpus> corpus, std::int64_t bins)
      : ModelStage(std::move(name), training, std::move(model), std::move(average), bins),
        context_(context),
        training_(training),
        corpus_(std::move(corpus)),
        samples_(
            data::training_sets(*corpus_, context.config.labels().fraction(), context.config.run().seed()).labelled),
        order_(context.config.run().seed(), data::kStreamLabelledOrder, samples_.groups(),
               context.config.data().shuffle_window()) {
    data::require_batch(order_, this->name() + ".training.global_batch", training.global_batch());
  }

  void start(std::uint64_t step) override {
    loader_.emplace(context_, name(), training_, step,
                    [this](std::uint64_t position, std::uint64_t count) { return make(position, count); });
  }

  training::MicroBatchResult micro_batch(std::uint64_t, std::uint64_t) override {
    training::MicroBatchResult result;
    const LabelledBatch batch = loader_->next(result.data_wait);
    const at::Device device = context_.communicator.device();
    const torch::Tensor logits = model().forward(models::normalise(batch.pixels.to(device), model().shape()));
    result.loss = losses::squared_emd(torch::softmax(logits, 1), batch.labels.to(device)).mean();
    result.images = batch.pixels.size(0);
    return result;
  }

 private:
  LabelledBatch make(std::uint64_t position, std::uint64_t count) const {
    std::vector<ViewRequest> requests;
    std::vector<data::SampleRef> samples;
    for (const data::SampleUse& use : order_.at(position, count)) {
      const data::SampleRef sample = samples_.at(use.sample);
      const shards::ImageShardReader& shard = corpus_->shard(sample.shard);
      runtime::Philox random(context_.config.run().seed(), data::kStreamStrongViews, position + samples.size());
      requests.push_back({sample, data::strong_view(random, shard.width(sample.row), shard.height(sample.row))});
      samples.push_back(sample);
    }
    return {render_batch(*corpus_, requests, image_size_, resize_mode(context_.config)),
            label_batch(*corpus_, samples)};
  }

  const Context& context_;
  const config::Training& training_;
  std::unique_ptr<data::Corpus> corpus_;
  data::SampleSet samples_;
  data::SampleOrder order_;
  int image_size_ = model().shape().image_size;
  std::optional<MicroBatchLoader<LabelledBatch>> loader_;  // last: its threads use the rest
};

struct Recipe {
  std::string name;
  std::string encoder;
  int image_size = 0;
  config::Start start = config::random;
  const config::Training* training = nullptr;
};

StageOutcome run_supervised(const Context& context, const Recipe& recipe) {
  runtime::ContentHasher inputs;
  inputs.add_field(recipe.name);
  inputs.add_field(shards::corpus_digest(shards::read_manifest(context.folder.shards())).hex());
  inputs.add_field(recipe.encoder);
  inputs.add_field(static_cast<std::uint64_t>(recipe.image_size));
  inputs.add_field(context.config.labels().SerializeAsString());
  inputs.add_field(recipe.training->SerializeAsString());
  inputs.add_field(context.config.data().SerializeAsString());
  inputs.add_field(context.config.run().seed());
  if (recipe.start == config::clip) inputs.add_field(clip_inputs(context.config).hex());
  if (recipe.start == config::aligned) inputs.add_field(align_inputs(context).hex());
  return train_stage(context, recipe.name, *recipe.training, inputs.hash(), [&]() -> std::unique_ptr<training::Stage> {
    auto corpus = std::make_unique<data::Corpus>(context.folder.shards());
    const auto bins = static_cast<std::int64_t>(bin_centres(*corpus).size());
    Headed model = make_model(context, recipe.encoder, recipe.image_size, models::kScoreHead, bins, recipe.name);
    Headed average = make_model(context, recipe.encoder, recipe.image_size, models::kScoreHead, bins, recipe.name);
    start_weights(*model, recipe.start, context);
    auto stage = std::make_unique<SupervisedStage>(context, recipe.name, *recipe.training, std::move(model),
                                                   std::move(average), std::move(corpus), bins);
    return stage;
  });
}

}  // namespace

StageOutcome run_finetune(const Context& context) {
  const config::Finetune& finetune = context.config.finetune();
  const bool own = !finetune.encoder().empty();
  return run_supervised(
      context, {.name = kTeacher,
                .encoder = own ? finetune.encoder() : context.config.align().encoder(),
                .image_size = static_cast<int>(own ? finetune.image_size() : context.config.align().image_size()),
                .start = finetune.start(),
                .training = &finetune.training()});
}

StageOutcome run_baseline(const Context& context) {
  const config::Align& align = context.config.align();
  return run_supervised(context, {.name = kBaseline,
                                  .encoder = align.encoder(),
                                  .image_size = static_cast<int>(align.image_size()),
                                  .training = &context.config.baseline().training()});
}

}  // namespace cskd::stages
