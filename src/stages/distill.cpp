#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <torch/torch.h>

#include "batches/batches.h"
#include "batches/micro_batch_loader.h"
#include "batches/sample_stream.h"
#include "config/tables.h"
#include "data/render_view.h"
#include "evaluation/validation.h"
#include "inference/prediction.h"
#include "losses/distribution.h"
#include "runtime/error.h"
#include "stages/distill_terms.h"
#include "stages/inputs.h"
#include "stages/model_stage.h"
#include "stages/score.h"
#include "stages/model_source.h"

namespace cskd::stages {
namespace {

// Labelled pictures of a step: as many as unlabelled ones, unless the configuration says otherwise.
std::uint64_t labelled_batch(const config::Distill& distill) {
  return distill.labelled_batch() > 0 ? distill.labelled_batch() : distill.training().global_batch();
}

// Labelled pictures of a micro-batch.
std::uint64_t labelled_samples(const config::Distill& distill) {
  return labelled_batch(distill) / distill.training().micro_batches();
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
                           const data::SampleSet& samples, const config::Distill& settings,
                           const run::Context& context) {
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
  const at::Tensor weights = losses::pseudo_label_weight(means, settings.variance_penalty());
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
  DistillStage(const run::Context& context, const config::Distill& settings, const TrainingSetup& setup,
               inference::Headed model, inference::Headed average, std::unique_ptr<batches::CheckedCorpus> corpus,
               const inference::Headed& teacher, std::int64_t bins)
      : ModelStage(setup.stage, settings.training(), std::move(model), std::move(average), bins),
        context_(context),
        settings_(settings),
        corpus_(std::move(corpus)),
        bins_(bins),
        terms_(distill_terms(settings_)),
        labelled_(stream(setup, true)),
        unlabelled_(stream(setup, false)) {
    labelled_.pseudo = pseudo_labels(*teacher, *corpus_, labelled_.samples.samples(), settings, context);
    unlabelled_.pseudo = pseudo_labels(*teacher, *corpus_, unlabelled_.samples.samples(), settings, context);
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

  Stream stream(const TrainingSetup& setup, bool labelled) const {
    data::TrainingSets sets =
        data::training_sets(corpus_->corpus(), context_.config.labels().fraction(), context_.config.run().seed());
    const PictureStream& chosen = setup.streams[labelled ? 1 : 0];
    return {.samples = {context_, *corpus_, labelled ? std::move(sets.labelled) : std::move(sets.unlabelled),
                        labelled ? data::kStreamLabelledOrder : data::kStreamUnlabelledOrder, chosen.key, chosen.batch},
            .has_labels = labelled};
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

TrainingSetup distill_training(const config::Config& config, const std::string& name) {
  const config::Distill& distill = config::table_named(config.distill(), name);
  const std::string stage = "distill." + name;
  constexpr std::uint64_t kTeacherViews = 2;  // whole, and mirrored
  const ModelSource teacher = model_source(config, distill.teachers(0));
  return {.stage = stage,
          .training = &distill.training(),
          .source = model_source(config, distill.from()),
          .streams = {{PictureStream::Pictures::kUnlabelled, stage + ".training.global_batch",
                       distill.training().global_batch()},
                      {PictureStream::Pictures::kLabelled, stage + ".labelled_batch", labelled_batch(distill)}},
          .passes = {{teacher, PictureStream::Pictures::kUnlabelled, kTeacherViews},
                     {teacher, PictureStream::Pictures::kLabelled, kTeacherViews}},
          .forwards = distill.consistency_weight() > 0 ? 1.0 : 0.0};
}

run::StageOutcome run_distill(const run::Context& context, const std::string& name) {
  const config::Distill& distill = config::table_named(context.config.distill(), name);
  const TrainingSetup setup = distill_training(context.config, name);
  const runtime::Inputs inputs = distill_inputs(context.config, context.folder, name);
  return train_stage(context, setup, inputs, [&]() -> std::unique_ptr<ModelStage> {
    auto corpus = std::make_unique<batches::CheckedCorpus>(context);
    const auto bins = static_cast<std::int64_t>(batches::bin_centres(corpus->corpus()).size());
    const inference::Headed teacher = inference::load_stage_model(context, distill.teachers(0), models::kScoreHead);
    const auto make = [&] {
      return inference::make_model(context, setup.source.architecture, setup.source.image_size, models::kScoreHead,
                                   bins, "distill");
    };
    inference::Headed model = make();
    inference::Headed average = make();
    start_weights(*model, distill.from(), context);
    return std::make_unique<DistillStage>(context, distill, setup, std::move(model), std::move(average),
                                          std::move(corpus), teacher, bins);
  });
}

}  // namespace cskd::stages
