#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <torch/torch.h>

#include "batches/batches.h"
#include "batches/sample_stream.h"
#include "config/tables.h"
#include "data/render_view.h"
#include "evaluation/validation.h"
#include "inference/prediction.h"
#include "losses/distribution.h"
#include "runtime/error.h"
#include "stages/distill_terms.h"
#include "stages/inputs.h"
#include "stages/model_source.h"
#include "stages/score.h"
#include "stages/stream_objective.h"
#include "stages/train_stage.h"

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

// Both streams, with the teacher's answers.
class DistillSource final : public BatchSource<DistillBatch> {
 public:
  DistillSource(const run::Context& context, const config::Distill& settings, const TrainingSetup& setup,
                std::shared_ptr<batches::CheckedCorpus> corpus, models::HeadedEncoder& teacher, std::int64_t bins,
                int side)
      : context_(context),
        settings_(settings),
        corpus_(std::move(corpus)),
        bins_(bins),
        side_(side),
        labelled_(stream(setup, teacher, true)),
        unlabelled_(stream(setup, teacher, false)) {}

  // Both streams share the number of the micro-batch; `position` and `count` are those of unlabelled pictures.
  DistillBatch begin(std::uint64_t position, std::uint64_t count) const override {
    const std::uint64_t labelled = labelled_samples(settings_);
    return {begin(labelled_, position / count * labelled, labelled), begin(unlabelled_, position, count)};
  }

  void fill(DistillBatch& batch, std::uint64_t item) const override {
    const std::uint64_t labelled = labelled_samples(settings_);
    if (item < labelled) return fill(labelled_, batch.labelled, item);
    fill(unlabelled_, batch.unlabelled, item - labelled);
  }

  std::uint64_t items() const override { return labelled_samples(settings_) + unlabelled_samples(settings_); }
  std::uint64_t bytes() const override {
    return (settings_.consistency_weight() > 0 ? 2 : 1) * batches::pixel_bytes(items(), side_);
  }
  std::vector<data::SampleRef> samples(const DistillBatch& batch) const override {
    std::vector<data::SampleRef> samples = batch.labelled.part.refs;
    samples.insert(samples.end(), batch.unlabelled.part.refs.begin(), batch.unlabelled.part.refs.end());
    return samples;
  }
  at::Tensor pixels(const DistillBatch& batch) const override { return batch.labelled.strong; }
  const batches::CheckedCorpus& corpus() const override { return *corpus_; }

 private:
  struct Stream {
    batches::SampleStream samples;
    PseudoLabels pseudo;
    bool has_labels = false;
  };

  Stream stream(const TrainingSetup& setup, models::HeadedEncoder& teacher, bool labelled) const {
    data::TrainingSets sets =
        data::training_sets(corpus_->corpus(), context_.config.labels().fraction(), context_.config.run().seed());
    const PictureStream& chosen = setup.streams[labelled ? 1 : 0];
    data::SampleSet pictures = labelled ? std::move(sets.labelled) : std::move(sets.unlabelled);
    PseudoLabels pseudo = pseudo_labels(teacher, *corpus_, pictures, settings_, context_);
    return {.samples = {context_, *corpus_, std::move(pictures),
                        labelled ? data::kStreamLabelledOrder : data::kStreamUnlabelledOrder, chosen.key, chosen.batch},
            .pseudo = std::move(pseudo),
            .has_labels = labelled};
  }

  std::uint64_t seed() const { return context_.config.run().seed(); }

  StreamBatch begin(const Stream& stream, std::uint64_t position, std::uint64_t count) const {
    const at::Device device = context_.communicator.device();
    const auto n = static_cast<std::int64_t>(count);
    StreamBatch batch{.part = stream.samples.begin(position, count)};
    batch.strong = batches::pixel_room(count, side_, device);
    if (settings_.consistency_weight() > 0) batch.weak = batches::pixel_room(count, side_, device);
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
      data::render_view(sample.bytes, data::strong_view(strong, shard->width(row), shard->height(row)), side_, mode,
                        batches::picture_in(batch.strong, item));
      if (batch.weak.defined()) {
        data::render_view(sample.bytes, data::weak_view(weak, shard->width(row), shard->height(row)), side_, mode,
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
  std::shared_ptr<batches::CheckedCorpus> corpus_;
  std::int64_t bins_;
  int side_;
  Stream labelled_, unlabelled_;
};

// The sum of Stage II's terms.
BatchLoss distill_loss(HeadedPair& pair, const std::vector<DistillTerm>& terms, const DistillBatch& batch,
                       std::uint64_t step, std::uint64_t steps, const at::Device& device) {
  const auto joined = [&](at::Tensor StreamBatch::*part) {
    return at::cat(
        {batches::to_device(batch.labelled.*part, device), batches::to_device(batch.unlabelled.*part, device)});
  };
  const torch::Tensor strong = models::normalise(joined(&StreamBatch::strong), pair.shape());
  const DistillInput input{
      .student = torch::softmax(pair.model().forward(strong), 1),
      .labelled = batch.labelled.strong.size(0),
      .labels = batch.labelled.labels.to(device),
      .teacher = joined(&StreamBatch::teacher),
      .teacher_weight = joined(&StreamBatch::weight),
      .average =
          [&] {
            const torch::NoGradGuard no_gradients;
            const torch::Tensor weak = models::normalise(joined(&StreamBatch::weak), pair.shape());
            return torch::softmax(pair.average_model().forward(weak), 1);
          },
  };
  DistillLoss sum = add_up(terms, input, step, steps);
  return {.loss = std::move(sum.loss), .figures = std::move(sum.figures)};
}

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
  return train_stage(context, setup, inputs, [&]() -> TaskParts {
    auto corpus = std::make_shared<batches::CheckedCorpus>(context);
    const auto bins = static_cast<std::int64_t>(batches::bin_centres(corpus->corpus()).size());
    const inference::Model teacher = inference::load_stage_model(context, distill.teachers(0), models::kScoreHead);
    const auto make = [&] {
      return inference::make_model(context, setup.source.architecture, setup.source.image_size, models::kScoreHead,
                                   bins, "distill");
    };
    inference::Model model = make();
    inference::Model average = make();
    start_weights(*model, distill.from(), context);
    TaskParts parts{.corpus = corpus,
                    .model = std::make_shared<HeadedPair>(setup.stage, distill.training(), std::move(model),
                                                          std::move(average), bins),
                    .objective = nullptr,
                    .validation = {}};
    parts.objective = std::make_unique<StreamObjective<DistillBatch>>(
        context, setup,
        std::make_unique<DistillSource>(context, distill, setup, corpus, *teacher, bins,
                                        parts.model->shape().image_size),
        [pair = parts.model, terms = distill_terms(distill), steps = distill.training().steps(),
         device = context.communicator.device()](const DistillBatch& batch, std::uint64_t step) {
          return distill_loss(*pair, terms, batch, step, steps, device);
        });
    parts.validation = score_validation(context, corpus, parts.model);
    return parts;
  });
}

}  // namespace cskd::stages
