#include <algorithm>
#include <optional>
#include <utility>

#include <torch/torch.h>

#include "data/render_view.h"
#include "losses/distribution.h"
#include "runtime/error.h"
#include "stages/align.h"
#include "stages/batches.h"
#include "stages/inputs.h"
#include "stages/model_stage.h"
#include "stages/score.h"
#include "stages/validation.h"

namespace cskd::stages {
namespace {

struct LabelledBatch {
  std::vector<data::SampleRef> samples;
  std::uint64_t position = 0;
  std::vector<data::SampleUse> uses;
  at::Tensor pixels;  // [n, S, S, 3] uint8
  at::Tensor labels;  // [n, K] float32
};

// Squared EMD to the labels of strong views.
class SupervisedStage : public ModelStage {
 public:
  SupervisedStage(const Context& context, std::string name, const config::Training& training, Headed model,
                  Headed average, std::unique_ptr<CheckedCorpus> corpus, std::int64_t bins)
      : ModelStage(std::move(name), training, std::move(model), std::move(average), bins),
        context_(context),
        training_(training),
        corpus_(std::move(corpus)),
        bins_(bins),
        samples_(data::training_sets(corpus_->corpus(), context.config.labels().fraction(), context.config.run().seed())
                     .labelled),
        order_(context.config.run().seed(), data::kStreamLabelledOrder, samples_.groups(),
               context.config.data().shuffle_window()) {
    data::require_batch(order_, this->name() + ".training.global_batch", training.global_batch());
  }

  void start(std::uint64_t step) override {
    const auto samples = static_cast<std::uint64_t>(micro_batch_images());
    loader_.emplace(context_, name(), training_, step,
                    MicroBatchMaker<LabelledBatch>{
                        .begin = [this](std::uint64_t position, std::uint64_t count) { return begin(position, count); },
                        .fill = [this](LabelledBatch& batch, std::uint64_t item) { fill(batch, item); },
                        .items = samples,
                        .bytes = pixel_bytes(samples, image_size_)});
  }

  training::MicroBatchResult micro_batch(std::uint64_t, std::uint64_t) override {
    training::MicroBatchResult result;
    LabelledBatch batch = loader_->next(result.data_wait);
    const at::Device device = context_.communicator.device();
    const torch::Tensor logits = model().forward(models::normalise(to_device(batch.pixels, device), model().shape()));
    result.loss = losses::squared_emd(torch::softmax(logits, 1), batch.labels.to(device)).mean();
    result.images = batch.pixels.size(0);
    keep_pictures(batch.pixels);
    result.samples_text = [this, samples = std::move(batch.samples)] {
      return samples_text(corpus_->corpus(), samples);
    };
    result.damaged = corpus_->damaged();
    return result;
  }

  std::vector<std::pair<std::string, double>> validate() override { return validation_(average_model()); }
  std::string main_figure() const override { return "validation/srcc"; }

  std::int64_t micro_batch_images() const override { return training_.global_batch() / training_.micro_batches(); }

 private:
  LabelledBatch begin(std::uint64_t position, std::uint64_t count) const {
    LabelledBatch batch{.samples = std::vector<data::SampleRef>(count),
                        .position = position,
                        .uses = order_.at(position, count),
                        .pixels = pixel_room(count, image_size_, context_.communicator.device()),
                        .labels = at::empty({static_cast<std::int64_t>(count), bins_})};
    for (const data::SampleUse& use : batch.uses) corpus_->source().will_use(samples_, use.sample);
    return batch;
  }

  void fill(LabelledBatch& batch, std::uint64_t item) const {
    corpus_->source().with_sample(samples_, batch.uses[item].sample, [&](const data::SampleSource::Sample& sample) {
      batch.samples[item] = sample.ref;
      const auto [shard, row] = std::pair(&sample.shard, sample.ref.row);
      runtime::Philox random(context_.config.run().seed(), data::kStreamStrongViews, batch.position + item);
      data::render_view(sample.bytes, data::strong_view(random, shard->width(row), shard->height(row)), image_size_,
                        resize_mode(context_.config), picture_in(batch.pixels, item));
      std::ranges::copy(shard->histogram(row), row_of(batch.labels, item).begin());
    });
  }

  const Context& context_;
  const config::Training& training_;
  std::unique_ptr<CheckedCorpus> corpus_;
  ScoreValidation validation_{*corpus_, context_};
  std::int64_t bins_;
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
  const runtime::Inputs inputs =
      supervised_inputs(context, recipe.name, *recipe.training, recipe.encoder, recipe.image_size, recipe.start);
  return train_stage(context, recipe.name, *recipe.training, inputs, [&]() -> std::unique_ptr<ModelStage> {
    auto corpus = std::make_unique<CheckedCorpus>(context);
    const auto bins = static_cast<std::int64_t>(bin_centres(corpus->corpus()).size());
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
