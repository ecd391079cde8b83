#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <torch/torch.h>

#include "batches/batches.h"
#include "batches/micro_batch_loader.h"
#include "batches/sample_stream.h"
#include "data/render_view.h"
#include "evaluation/validation.h"
#include "inference/prediction.h"
#include "losses/distribution.h"
#include "runtime/error.h"
#include "stages/distill_terms.h"
#include "stages/inputs.h"
#include "stages/model_stage.h"
#include "stages/score.h"
#include "stages/start_weights.h"

namespace cskd::stages {
namespace {

// Labelled pictures of a micro-batch. Throws UsageError when distill.labelled_batch cannot be shared out evenly;
// global_batch is looked at by make_batch_layout().
std::uint64_t labelled_samples(const config::Distill& distill) {
  const std::uint64_t micro_batches = distill.training().micro_batches();
  const std::uint64_t batch = distill.labelled_batch();
  if (batch % micro_batches != 0) {
    throw runtime::UsageError(
        fmt::format("distill.labelled_batch is {}, which the {} micro-batches do not divide", batch, micro_batches));
  }
  return (batch > 0 ? batch : distill.training().global_batch()) / micro_batches;
}

// Unlabelled pictures of a micro-batch.
std::uint64_t unlabelled_samples(const config::Distill& distill) {
  return distill.training().global_batch() / distill.training().micro_batches();
}

// What the aesthetics teacher says of each picture of a set: its distribution over bins, the mean over the weak views,
// and how far it can be trusted.
struct PseudoLabels {
  at::Tensor distributions;  // [N, K]
  at::Tensor weights;        // [N]
};

PseudoLabels pseudo_labels(models::HeadedEncoder& teacher, const batches::CheckedCorpus& corpus,
                           const data::SampleSet& samples, const run::Context& context) {
  const at::Tensor views = inference::predict_distributions(
      teacher, corpus, samples,
      {.views = data::TestViews::kMirrored, .leave_out_damaged = true, .doing = "pseudo-labels were made"}, context,
      [&](std::int64_t done, std::int64_t total) { context.progress("pseudo-labels", done, total); });
  // A damaged picture has no pseudo-label. Should it be readable later, it does not count.
  const at::Tensor damaged = views.isnan().any(2).any(1);
  const at::Tensor distributions =
      at::where(damaged.view({-1, 1}), 1.0 / static_cast<double>(views.size(2)), views.mean(1));
  const std::vector<double> centres = batches::bin_centres(corpus.corpus());
  const at::Tensor means = views.matmul(at::tensor(at::ArrayRef<double>(centres)).to(at::kFloat));
  const at::Tensor weights = losses::pseudo_label_weight(means, context.config.distill().variance_penalty());
  return {distributions.to(at::kFloat).contiguous(), at::where(damaged, 0.0, weights).to(at::kFloat).contiguous()};
}

// One stream's part of a micro-batch.
struct StreamBatch {
  batches::SampleStream::Part part;
  at::Tensor strong, weak;  // [n, S, S, 3] uint8; weak only where consistency counts
  at::Tensor teacher;       // [n, K]
  at::Tensor weight;        // [n]
  at::Tensor labels;        // [n, K], labelled stream only
};

struct DistillBatch {
  StreamBatch labelled, unlabelled;
};

class DistillStage : public ModelStage {
 public:
  DistillStage(const run::Context& context, inference::Headed model, inference::Headed average,
               std::unique_ptr<batches::CheckedCorpus> corpus, const inference::Headed& teacher, std::int64_t bins)
      : ModelStage(kStudent, context.config.distill().training(), std::move(model), std::move(average), bins),
        context_(context),
        settings_(context.config.distill()),
        corpus_(std::move(corpus)),
        bins_(bins),
        terms_(distill_terms(settings_)),
        labelled_(stream(true)),
        unlabelled_(stream(false)) {
    labelled_.pseudo = pseudo_labels(*teacher, *corpus_, labelled_.samples.samples(), context);
    unlabelled_.pseudo = pseudo_labels(*teacher, *corpus_, unlabelled_.samples.samples(), context);
  }

  void start(std::uint64_t step) override {
    const std::uint64_t labelled = labelled_samples(settings_);
    const std::uint64_t unlabelled = unlabelled_samples(settings_);
    const std::uint64_t views = settings_.consistency_weight() > 0 ? 2 : 1;
    loader_.emplace(context_, name(), settings_.training(), step,
                    batches::MicroBatchMaker<DistillBatch>{
                        .begin =
                            [this, labelled](std::uint64_t position, std::uint64_t count) {
                              // Both streams share the number of the micro-batch.
                              return DistillBatch{begin(labelled_, position / count * labelled, labelled),
                                                  begin(unlabelled_, position, count)};
                            },
                        .fill =
                            [this, labelled](DistillBatch& batch, std::uint64_t item) {
                              if (item < labelled) return fill(labelled_, batch.labelled, item);
                              fill(unlabelled_, batch.unlabelled, item - labelled);
                            },
                        .items = labelled + unlabelled,
                        .bytes = views * batches::pixel_bytes(labelled + unlabelled, image_size_)});
  }

  training::MicroBatchResult micro_batch(std::uint64_t step, std::uint64_t) override {
    training::MicroBatchResult result;
    DistillBatch batch = loader_->next(result.data_wait);
    const at::Device device = context_.communicator.device();
    const auto joined = [&](at::Tensor StreamBatch::*part) {
      return at::cat(
          {batches::to_device(batch.labelled.*part, device), batches::to_device(batch.unlabelled.*part, device)});
    };
    const torch::Tensor strong = models::normalise(joined(&StreamBatch::strong), model().shape());
    const DistillInput input{
        .student = torch::softmax(model().forward(strong), 1),
        .labelled = batch.labelled.strong.size(0),
        .labels = batch.labelled.labels.to(device),
        .teacher = joined(&StreamBatch::teacher),
        .teacher_weight = joined(&StreamBatch::weight),
        .average =
            [&] {
              const torch::NoGradGuard no_gradients;
              const torch::Tensor weak = models::normalise(joined(&StreamBatch::weak), model().shape());
              return torch::softmax(average_model().forward(weak), 1);
            },
    };
    const DistillLoss sum = add_up(terms_, input, step, settings_.training().steps());
    result.loss = sum.loss;
    for (std::size_t i = 0; i < terms_.size(); ++i)
      result.figures.emplace_back("train/" + terms_[i].name, sum.figures[i]);
    result.images = input.student.size(0);
    std::vector<data::SampleRef> samples = std::move(batch.labelled.part.refs);
    samples.insert(samples.end(), batch.unlabelled.part.refs.begin(), batch.unlabelled.part.refs.end());
    describe(result, *corpus_, batch.labelled.strong, std::move(samples));
    return result;
  }

  std::vector<std::pair<std::string, double>> validate() override { return validation_(average_model()); }
  std::string main_figure() const override { return "validation/srcc"; }

  std::int64_t micro_batch_images() const override {
    return static_cast<std::int64_t>(labelled_samples(settings_) + unlabelled_samples(settings_));
  }

 private:
  struct Stream {
    batches::SampleStream samples;
    PseudoLabels pseudo;
    bool has_labels = false;
  };

  Stream stream(bool labelled) const {
    data::TrainingSets sets =
        data::training_sets(corpus_->corpus(), context_.config.labels().fraction(), context_.config.run().seed());
    if (labelled) {
      return {.samples = {context_, *corpus_, std::move(sets.labelled), data::kStreamLabelledOrder,
                          "distill.labelled_batch", labelled_samples(settings_) * settings_.training().micro_batches()},
              .has_labels = true};
    }
    return {.samples = {context_, *corpus_, std::move(sets.unlabelled), data::kStreamUnlabelledOrder,
                        "distill.training.global_batch", settings_.training().global_batch()}};
  }

  std::uint64_t seed() const { return context_.config.run().seed(); }

  StreamBatch begin(const Stream& stream, std::uint64_t position, std::uint64_t count) const {
    const at::Device device = context_.communicator.device();
    const auto n = static_cast<std::int64_t>(count);
    StreamBatch batch{.part = stream.samples.begin(position, count)};
    batch.strong = batches::pixel_room(count, image_size_, device);
    if (settings_.consistency_weight() > 0) batch.weak = batches::pixel_room(count, image_size_, device);
    batch.teacher = at::empty({n, bins_});
    batch.weight = at::empty({n});
    if (stream.has_labels) batch.labels = at::empty({n, bins_});
    return batch;
  }

  void fill(const Stream& stream, StreamBatch& batch, std::uint64_t item) const {
    stream.samples.read(batch.part, item, [&](const data::SampleSource::Sample& sample, const data::SampleUse&) {
      const auto [shard, row] = std::pair(&sample.shard, sample.ref.row);
      // The labelled stream's views differ from the unlabelled one's at equal positions.
      const std::uint64_t number = batch.part.number(item) | (stream.has_labels ? 1ULL << 63 : 0);
      runtime::Philox strong(seed(), data::kStreamStrongViews, number);
      runtime::Philox weak(seed(), data::kStreamWeakViews, number);
      const data::ResizeMode mode = batches::resize_mode(context_.config);
      data::render_view(sample.bytes, data::strong_view(strong, shard->width(row), shard->height(row)), image_size_,
                        mode, batches::picture_in(batch.strong, item));
      if (batch.weak.defined()) {
        data::render_view(sample.bytes, data::weak_view(weak, shard->width(row), shard->height(row)), image_size_, mode,
                          batches::picture_in(batch.weak, item));
      }
      std::ranges::copy(batches::row_of(stream.pseudo.distributions, sample.number),
                        batches::row_of(batch.teacher, item).begin());
      batch.weight.data_ptr<float>()[item] = stream.pseudo.weights.data_ptr<float>()[sample.number];
      if (stream.has_labels) std::ranges::copy(shard->histogram(row), batches::row_of(batch.labels, item).begin());
    });
  }

  const run::Context& context_;
  const config::Distill& settings_;
  std::unique_ptr<batches::CheckedCorpus> corpus_;
  evaluation::ScoreValidation validation_{*corpus_, context_};
  std::int64_t bins_;
  std::vector<DistillTerm> terms_;
  Stream labelled_, unlabelled_;
  int image_size_ = model().shape().image_size;
  std::optional<batches::MicroBatchLoader<DistillBatch>> loader_;  // last: its threads use the rest
};

}  // namespace

TrainingSetup distill_training(const config::Config& config) {
  const config::Align& align = config.align();
  return {&config.distill().training(), "align.encoder", align.encoder(), static_cast<int>(align.image_size()),
          config.distill().start()};
}

run::StageOutcome run_distill(const run::Context& context) {
  const config::Distill& distill = context.config.distill();
  static_cast<void>(labelled_samples(distill));
  return train_stage(
      context, kStudent, distill.training(), distill_inputs(context), [&]() -> std::unique_ptr<ModelStage> {
        auto corpus = std::make_unique<batches::CheckedCorpus>(context);
        const auto bins = static_cast<std::int64_t>(batches::bin_centres(corpus->corpus()).size());
        if (data::training_sets(corpus->corpus(), context.config.labels().fraction(), context.config.run().seed())
                .unlabelled.size() == 0) {
          throw runtime::UsageError(
              "distill needs pictures without labels, but the corpus has none: add an unlabelled source, or lower "
              "labels.fraction");
        }
        const inference::Headed teacher = inference::load_stage_model(context, kTeacher, models::kScoreHead);
        const TrainingSetup setup = distill_training(context.config);
        const auto make = [&] {
          return inference::make_model(context, setup.encoder, setup.image_size, models::kScoreHead, bins, kStudent);
        };
        inference::Headed model = make();
        inference::Headed average = make();
        start_weights(*model, setup.start, context);
        return std::make_unique<DistillStage>(context, std::move(model), std::move(average), std::move(corpus), teacher,
                                              bins);
      });
}

}  // namespace cskd::stages
