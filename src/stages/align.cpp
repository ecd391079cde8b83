#include "stages/align.h"

#include <cstring>

#include <torch/torch.h>

#include "data/corpus.h"
#include "losses/alignment.h"
#include "stages/batches.h"
#include "stages/cache.h"
#include "stages/cache_set.h"
#include "stages/model_stage.h"

namespace cskd::stages {
namespace {

struct AlignBatch {
  at::Tensor pixels;   // [n, S, S, 3] uint8
  at::Tensor targets;  // [n, D] float32
};

class AlignStage : public ModelStage {
 public:
  AlignStage(const Context& context, Headed model, Headed average, std::unique_ptr<data::Corpus> corpus,
             shards::CacheBinding binding)
      : ModelStage("align", context.config.align().training(), std::move(model), std::move(average),
                   static_cast<std::int64_t>(binding.width)),
        context_(context),
        corpus_(std::move(corpus)),
        caches_(context, *corpus_, std::move(binding)),
        samples_(data::SampleSet::of_split(*corpus_, shards::Split::kUnlabelled)
                     .followed_by(data::SampleSet::of_split(*corpus_, shards::Split::kTrain))),
        order_(context.config.run().seed(), data::kStreamAlignOrder, samples_.groups(),
               context.config.data().shuffle_window()) {
    data::require_batch(order_, "align.training.global_batch", context.config.align().training().global_batch());
  }

  void start(std::uint64_t step) override {
    caches_.audit(samples_, step, *load_clip(context_));
    loader_.emplace(context_, name(), context_.config.align().training(), step,
                    [this](std::uint64_t position, std::uint64_t count) { return make(position, count); });
  }

  training::MicroBatchResult micro_batch(std::uint64_t, std::uint64_t) override {
    training::MicroBatchResult result;
    const AlignBatch batch = loader_->next(result.data_wait);
    const at::Device device = context_.communicator.device();
    const torch::Tensor predicted = model().forward(models::normalise(batch.pixels.to(device), model().shape()));
    const torch::Tensor target = batch.targets.to(device);
    const torch::Tensor smooth_l1 = losses::whitened_smooth_l1(predicted, target);
    const torch::Tensor cosine = losses::cosine_distance(predicted, target);
    result.loss =
        context_.config.align().smooth_l1_weight() * smooth_l1 + context_.config.align().cosine_weight() * cosine;
    result.figures = {{"train/smooth_l1", smooth_l1.detach()}, {"train/cosine", cosine.detach()}};
    result.images = batch.pixels.size(0);
    return result;
  }

 private:
  AlignBatch make(std::uint64_t position, std::uint64_t count) const {
    std::vector<ViewRequest> requests;
    const auto width = static_cast<std::int64_t>(caches_.width());
    const at::Tensor targets = at::empty({static_cast<std::int64_t>(count), width}, at::kHalf);
    auto* target = static_cast<char*>(targets.data_ptr());
    for (const data::SampleUse& use : order_.at(position, count)) {
      const data::SampleRef sample = samples_.at(use.sample);
      const shards::FeatureCacheReader& cache = caches_.of(sample.shard);
      // Each use takes the next of a picture's stored views.
      const std::uint64_t view = (cache.image_hash(sample.row) + use.round) % caches_.views();
      requests.push_back({sample, view_of(cache.view(sample.row, view))});
      const std::vector<std::uint16_t> bits = cache.pooled(sample.row, view);
      std::memcpy(target, bits.data(), 2 * bits.size());
      target += 2 * bits.size();
    }
    return {render_batch(*corpus_, requests, shape_size_, resize_mode(context_.config)), targets.to(at::kFloat)};
  }

  const Context& context_;
  std::unique_ptr<data::Corpus> corpus_;
  CacheSet caches_;
  data::SampleSet samples_;
  data::SampleOrder order_;
  int shape_size_ = model().shape().image_size;
  std::optional<MicroBatchLoader<AlignBatch>> loader_;  // last: its threads use the rest
};

}  // namespace

runtime::ContentHash align_inputs(const Context& context) {
  runtime::ContentHasher hasher;
  hasher.add_field(cache_inputs(context).hex());
  hasher.add_field(context.config.align().SerializeAsString());
  return hasher.hash();
}

StageOutcome run_align(const Context& context) {
  const config::Align& align = context.config.align();
  return train_stage(
      context, "align", align.training(), align_inputs(context), [&]() -> std::unique_ptr<training::Stage> {
        const models::EncoderShape teacher = models::make_encoder(context.config.clip().encoder())->shape();
        const auto image_size = static_cast<int>(align.image_size());
        Headed model =
            make_model(context, align.encoder(), image_size, models::kProjector, teacher.pooled_width, "align");
        Headed average =
            make_model(context, align.encoder(), image_size, models::kProjector, teacher.pooled_width, "align");
        return std::make_unique<AlignStage>(context, std::move(model), std::move(average),
                                            std::make_unique<data::Corpus>(context.folder.shards()),
                                            cache_binding(context.config, teacher));
      });
}

}  // namespace cskd::stages
