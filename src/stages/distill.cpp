#include <algorithm>
#include <optional>
#include <utility>

#include <fmt/format.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "batches/batches.h"
#include "batches/sample_stream.h"
#include "config/tables.h"
#include "data/render_view.h"
#include "evaluation/validation.h"
#include "features/cache.h"
#include "models/encoder.h"
#include "runtime/error.h"
#include "stages/attention_reference.h"
#include "stages/distill_terms.h"
#include "stages/head_transfer.h"
#include "stages/inputs.h"
#include "stages/learners.h"
#include "stages/mix.h"
#include "stages/model_source.h"
#include "stages/score.h"
#include "stages/stored_answers.h"
#include "stages/stream_objective.h"
#include "stages/teacher_answers.h"
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

// One stream's part of a micro-batch.
struct StreamBatch {
  batches::SampleStream::Part part;
  at::Tensor strong, weak;  // [n, S, S, 3] uint8; weak only where consistency counts
  TeacherAnswers::Room answers;
  at::Tensor labels;  // [n, K], labelled stream only
};

struct DistillBatch {
  StreamBatch labelled, unlabelled;
};

// Both streams, with the teachers' answers.
class DistillSource final : public BatchSource<DistillBatch> {
 public:
  DistillSource(const run::Context& context, const config::Distill& settings, const TrainingSetup& setup,
                std::shared_ptr<batches::CheckedCorpus> corpus, const Teachers& teachers, std::int64_t bins, int side)
      : context_(context),
        settings_(settings),
        corpus_(std::move(corpus)),
        bins_(bins),
        side_(side),
        labelled_(stream(setup, teachers, true)),
        unlabelled_(stream(setup, teachers, false)) {}

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
    std::uint64_t bytes = (settings_.consistency_weight() > 0 ? 2 : 1) * batches::pixel_bytes(items(), side_);
    for (const Stream* stream : {&labelled_, &unlabelled_}) {
      if (stream->answers) bytes += stream->answers->bytes(items());
    }
    return bytes;
  }
  std::vector<data::SampleRef> samples(const DistillBatch& batch) const override {
    std::vector<data::SampleRef> samples = batch.labelled.part.refs;
    samples.insert(samples.end(), batch.unlabelled.part.refs.begin(), batch.unlabelled.part.refs.end());
    return samples;
  }
  at::Tensor pixels(const DistillBatch& batch) const override { return batch.labelled.strong; }
  const batches::CheckedCorpus& corpus() const override { return *corpus_; }

  void start(std::uint64_t step) override {
    for (const Stream* stream : {&labelled_, &unlabelled_}) {
      if (stream->answers) stream->answers->start(stream->samples.samples(), step);
    }
  }

  // On the training's thread.
  Answers answers(const DistillBatch& batch) const {
    const Answers labelled = answers_of(labelled_, batch.labelled);
    const Answers unlabelled = answers_of(unlabelled_, batch.unlabelled);
    return {at::cat({labelled.distributions, unlabelled.distributions}),
            at::cat({labelled.weights, unlabelled.weights}), unlabelled.features};
  }

 private:
  struct Stream {
    batches::SampleStream samples;
    std::shared_ptr<TeacherAnswers> answers;  // null where there are none
    bool has_labels = false;
  };

  Stream stream(const TrainingSetup& setup, const Teachers& teachers, bool labelled) const {
    data::TrainingSets sets =
        data::training_sets(corpus_->corpus(), context_.config.labels().fraction(), context_.config.run().seed());
    const PictureStream& chosen = setup.streams[labelled ? 1 : 0];
    data::SampleSet pictures = labelled ? std::move(sets.labelled) : std::move(sets.unlabelled);
    std::shared_ptr<TeacherAnswers> answers = answers_to(teachers, labelled);
    return {.samples = {context_, *corpus_, std::move(pictures),
                        labelled ? data::kStreamLabelledOrder : data::kStreamUnlabelledOrder, chosen.key, chosen.batch},
            .answers = std::move(answers),
            .has_labels = labelled};
  }

  // Views of labelled pictures keep their labels, and are not those that teachers answer to (same_view).
  // Answers to whole pictures are those of both streams.
  std::shared_ptr<TeacherAnswers> answers_to(const Teachers& teachers, bool labelled) const {
    if (teachers.empty()) return nullptr;
    if (settings_.answers() == config::Distill::whole)
      return labelled ? answers_to_whole_pictures(context_, settings_, teachers, *corpus_) : labelled_.answers;
    return labelled ? nullptr : answers_to_same_views(context_, settings_, teachers, *corpus_);
  }

  Answers answers_of(const Stream& stream, const StreamBatch& batch) const {
    if (stream.answers) return stream.answers->of(batch.answers);
    const auto options = at::TensorOptions(context_.communicator.device());
    return {at::full({batch.strong.size(0), bins_}, 1.0 / static_cast<double>(bins_), options),
            at::zeros({batch.strong.size(0)}, options),
            {}};
  }

  std::uint64_t seed() const { return context_.config.run().seed(); }

  StreamBatch begin(const Stream& stream, std::uint64_t position, std::uint64_t count) const {
    const at::Device device = context_.communicator.device();
    const auto n = static_cast<std::int64_t>(count);
    StreamBatch batch{.part = stream.samples.begin(position, count)};
    batch.strong = batches::pixel_room(count, side_, device);
    if (settings_.consistency_weight() > 0) batch.weak = batches::pixel_room(count, side_, device);
    if (stream.answers) batch.answers = stream.answers->begin(batch.strong);
    if (stream.has_labels) batch.labels = at::empty({n, bins_});
    return batch;
  }

  void fill(const Stream& stream, StreamBatch& batch, std::uint64_t item) const {
    stream.samples.read(batch.part, item, [&](const data::SampleSource::Sample& sample, const data::SampleUse& use) {
      const auto [shard, row] = std::pair(&sample.shard, sample.ref.row);
      // The labelled stream's views differ from the unlabelled one's at equal positions.
      const std::uint64_t number = batch.part.number(item) | (stream.has_labels ? 1ULL << 63 : 0);
      runtime::Philox strong(seed(), data::kStreamStrongViews, number);
      runtime::Philox weak(seed(), data::kStreamWeakViews, number);
      const data::ResizeMode mode = batches::resize_mode(context_.config);
      const std::optional<data::View> wanted = stream.answers ? stream.answers->view(sample, use) : std::nullopt;
      data::render_view(sample.bytes,
                        wanted ? *wanted : data::strong_view(strong, shard->width(row), shard->height(row)), side_,
                        mode, batches::picture_in(batch.strong, item));
      if (batch.weak.defined()) {
        data::render_view(sample.bytes, data::weak_view(weak, shard->width(row), shard->height(row)), side_, mode,
                          batches::picture_in(batch.weak, item));
      }
      if (stream.answers) stream.answers->fill(batch.answers, item, sample, use);
      if (stream.has_labels) std::ranges::copy(shard->histogram(row), batches::row_of(batch.labels, item).begin());
    });
  }

  const run::Context& context_;
  const config::Distill& settings_;
  std::shared_ptr<batches::CheckedCorpus> corpus_;
  std::int64_t bins_;
  int side_;
  Stream labelled_, unlabelled_;  // in this order: the second may take the answers of the first
};

// For the term "feature"; nothing where it is not there.
Projector on_device(const Projector& projector, const config::Distill& distill, const run::Context& context) {
  if (distill.feature_weight() == 0) return {};
  const auto moved = [&](const at::Tensor& part) { return part.to(context.communicator.device(), at::kFloat); };
  return {.weight = moved(projector.weight), .bias = moved(projector.bias)};
}

// Nothing where no attention is kept.
std::shared_ptr<const AttentionReference> attention_reference(const run::Context& context,
                                                              const config::Distill& distill,
                                                              const models::EncoderShape& student) {
  if (distill.attention_of().empty()) return nullptr;
  return std::make_shared<const AttentionReference>(context, distill.attention_of(), student);
}

// A model that starts from `from`, and its average.
std::shared_ptr<HeadedPair> learner(const run::Context& context, const TrainingSetup& setup, const ModelSource& source,
                                    const std::string& from, std::int64_t bins, const std::string& purpose) {
  inference::Model model = make_scorer(context, source, bins, purpose);
  inference::Model average = make_scorer(context, source, bins, purpose);
  start_weights(*model, from, context);
  return std::make_shared<HeadedPair>(setup.stage, *setup.training, std::move(model), std::move(average), bins);
}

// What a loss is made of beside the batch.
struct LossParts {
  std::vector<DistillTerm> terms;
  Projector projector;
  std::uint64_t seed = 0;
  double mix_alpha = 1;
  std::shared_ptr<const AttentionReference> attention;  // null where none is kept
  std::uint64_t steps = 0;
  at::Device device;
};

at::Tensor joined(const DistillBatch& batch, at::Tensor StreamBatch::*part, const at::Device& device) {
  return at::cat(
      {batches::to_device(batch.labelled.*part, device), batches::to_device(batch.unlabelled.*part, device)});
}

// What a model makes of a batch.
struct Seen {
  at::Tensor pixels;     // [N, S, S, 3] uint8
  torch::Tensor strong;  // as it sees them
  models::HeadedEncoder::WithFeatures features;
  at::Tensor student;  // [N, K]
};

Seen seen_by(HeadedPair& pair, const DistillBatch& batch, const LossParts& parts) {
  Seen seen{.pixels = joined(batch, &StreamBatch::strong, parts.device)};
  seen.strong = models::normalise(seen.pixels, pair.shape());
  seen.features =
      pair.model().forward_with_features(seen.strong, parts.attention ? parts.attention->request() : models::Request());
  seen.student = torch::softmax(seen.features.outputs, 1);
  return seen;
}

// The sum of Stage II's terms. `partner`: what the other model makes of the same batch, if there is one.
DistillLoss distill_loss(HeadedPair& pair, const Seen& seen, const DistillBatch& batch, const Answers& answers,
                         const LossParts& parts, const Seen* partner, std::uint64_t step) {
  const std::int64_t labelled = batch.labelled.strong.size(0);
  const bool is_projected = answers.features.defined() && parts.projector.weight.defined();
  const Mix mix = draw_mix(parts.seed, batch.unlabelled.part.position, seen.student.size(0), parts.mix_alpha);
  const DistillInput input{
      .student = seen.student,
      .labelled = labelled,
      .labels = batch.labelled.labels.to(parts.device),
      .teacher = answers.distributions,
      .teacher_weight = answers.weights,
      .projected = is_projected ? torch::linear(seen.features.pooled.slice(0, labelled), parts.projector.weight,
                                                parts.projector.bias)
                                : at::Tensor(),
      .features = answers.features,
      .average =
          [&] {
            const torch::NoGradGuard no_gradients;
            const torch::Tensor weak = models::normalise(joined(batch, &StreamBatch::weak, parts.device), pair.shape());
            return torch::softmax(pair.average_model().forward(weak), 1);
          },
      .partner = partner == nullptr ? at::Tensor() : partner->student.slice(0, labelled).detach(),
      .reaches = parts.attention ? parts.attention->of_student(seen.features.asked) : at::Tensor(),
      .wanted_reaches = parts.attention ? parts.attention->of_reference(seen.pixels) : at::Tensor(),
      .mix = mix,
      .mixed = [&] { return torch::softmax(pair.model().forward(mix.of(seen.strong)), 1); },
  };
  return add_up(parts.terms, input, step, parts.steps);
}

BatchLoss loss_alone(HeadedPair& pair, const DistillBatch& batch, const Answers& answers, const LossParts& parts,
                     std::uint64_t step) {
  DistillLoss sum = distill_loss(pair, seen_by(pair, batch, parts), batch, answers, parts, nullptr, step);
  return {.loss = std::move(sum.loss), .figures = std::move(sum.figures)};
}

// Of two models that learn from each other.
BatchLoss loss_together(HeadedPair& pair, HeadedPair& partner, const DistillBatch& batch, const Answers& answers,
                        const LossParts& parts, std::uint64_t step) {
  const Seen first = seen_by(pair, batch, parts);
  const Seen second = seen_by(partner, batch, parts);
  DistillLoss own = distill_loss(pair, first, batch, answers, parts, &second, step);
  DistillLoss other = distill_loss(partner, second, batch, answers, parts, &first, step);
  BatchLoss sum{.loss = own.loss + other.loss, .figures = std::move(own.figures)};
  for (auto& [name, figure] : other.figures) sum.figures.emplace_back(partners_name(name), std::move(figure));
  return sum;
}

}  // namespace

TrainingSetup distill_training(const config::Config& config, const std::string& name) {
  const config::Distill& distill = config::table_named(config.distill(), name);
  const std::string stage = "distill." + name;
  std::vector<TeacherPass> passes;
  std::vector<TowerUse> towers;
  for (const std::string& teacher : distill.teachers()) {
    if (distill.answers() == config::Distill::same_view) break;
    for (const auto pictures : {PictureStream::Pictures::kUnlabelled, PictureStream::Pictures::kLabelled})
      passes.push_back({model_source(config, teacher), pictures, kAnsweredViews});
  }
  const auto reads = teachers_towers(config, distill);
  for (std::size_t i = 0; i < reads.size(); ++i) {
    if (distill.answers() == config::Distill::whole) break;
    const std::optional<std::string>& read = reads[i];
    if (!read) {
      const std::string& teacher = distill.teachers(static_cast<int>(i));
      towers.push_back({.name = teacher, .source = model_source(config, teacher)});
      continue;
    }
    const config::Tower& tower = config::table_named(config.towers(), *read);
    towers.push_back({.name = "towers." + *read,
                      .source = model_source(config, "towers." + *read),
                      .is_cached = tower.views().count() > 0,
                      .views = tower.views().count(),
                      .view_bytes = features::feature_bytes(models::encoder_shape(tower.architecture()), false)});
  }
  if (!distill.attention_of().empty())
    towers.push_back({.name = distill.attention_of(), .source = model_source(config, distill.attention_of())});
  return {.stage = stage,
          .training = &distill.training(),
          .source = model_source(config, distill.from()),
          .partner = distill.partner().empty() ? std::nullopt : std::optional(model_source(config, distill.partner())),
          .streams = {{PictureStream::Pictures::kUnlabelled, stage + ".training.global_batch",
                       distill.training().global_batch()},
                      {PictureStream::Pictures::kLabelled, stage + ".labelled_batch", labelled_batch(distill)}},
          .passes = std::move(passes),
          // A pass backward takes as long as two forward.
          .forwards = (distill.consistency_weight() > 0 ? 1.0 : 0.0) + (distill.mix().weight() > 0 ? 3.0 : 0.0),
          .towers = std::move(towers)};
}

run::StageOutcome run_distill(const run::Context& context, const std::string& name) {
  const config::Distill& distill = config::table_named(context.config.distill(), name);
  const TrainingSetup setup = distill_training(context.config, name);
  const runtime::Inputs inputs = distill_inputs(context.config, context.folder, name);
  return train_stage(context, setup, inputs, [&]() -> TaskParts {
    auto corpus = std::make_shared<batches::CheckedCorpus>(context);
    const auto bins = static_cast<std::int64_t>(batches::bin_centres(corpus->corpus()).size());
    Teachers teachers;
    for (const std::string& teacher : distill.teachers())
      teachers.push_back(inference::load_stage_model(context, teacher, models::kScoreHead));
    std::shared_ptr<HeadedPair> first = learner(context, setup, setup.source, distill.from(), bins, "distill");
    Projector projector;
    if (distill.head() == config::Distill::teacher) {
      projector = projector_of(context, distill);
      take_over_head(first->model(), *teachers.front(), projector);
    }
    TaskParts parts{.corpus = corpus, .model = first, .objective = nullptr, .validation = {}};
    if (setup.partner) {
      parts.partner = learner(context, setup, *setup.partner, distill.partner(), bins, "distill, partner");
      if (distill.product() == config::Distill::second) std::swap(parts.model, parts.partner);
      parts.trained = std::make_shared<Learners>(parts.model, parts.partner);
    }
    auto source = std::make_unique<DistillSource>(context, distill, setup, corpus, teachers, bins,
                                                  parts.model->shape().image_size);
    const DistillSource& answering = *source;
    parts.objective = std::make_unique<StreamObjective<DistillBatch>>(
        context, setup, std::move(source),
        [&answering, pair = parts.model, partner = parts.partner,
         loss = LossParts{.terms = distill_terms(distill, batches::bin_centres(corpus->corpus())),
                          .projector = on_device(projector, distill, context),
                          .seed = context.config.run().seed(),
                          .mix_alpha = distill.mix().alpha(),
                          .attention = attention_reference(context, distill, parts.model->shape()),
                          .steps = distill.training().steps(),
                          .device = context.communicator.device()}](const DistillBatch& batch, std::uint64_t step) {
          const Answers answers = answering.answers(batch);
          return partner ? loss_together(*pair, *partner, batch, answers, loss, step)
                         : loss_alone(*pair, batch, answers, loss, step);
        });
    parts.validation = score_validation(context, corpus, parts.model, parts.partner);
    return parts;
  });
}

}  // namespace cskd::stages
