// An objective over batches that loader threads make ahead: where batches come from, and the loss of one.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "batches/batches.h"
#include "batches/micro_batch_loader.h"
#include "data/corpus.h"
#include "data/damage.h"
#include "data/sampler.h"
#include "features/feature_queue.h"
#include "run/context.h"
#include "runtime/threads.h"
#include "stages/training_setup.h"
#include "training/task.h"

namespace cskd::stages {

// Where the micro-batches of a training come from. begin() and fill() are called by loader threads (data::BatchMaker).
template <typename Batch>
class BatchSource {
 public:
  virtual ~BatchSource() = default;

  // Before the first batch; `step` is the one that training goes on from.
  virtual void start(std::uint64_t) {}
  // A batch with room for its samples, `count` of the first stream from `position` on.
  virtual Batch begin(std::uint64_t position, std::uint64_t count) const = 0;
  // Fills one of its items.
  virtual void fill(Batch& batch, std::uint64_t item) const = 0;
  virtual std::uint64_t items() const = 0;  // of a micro-batch, of all streams
  virtual std::uint64_t bytes() const = 0;  // of a micro-batch, about
  // What is in a batch: the samples that were read, and pixels [n, S, S, 3] uint8 of some of them.
  virtual std::vector<data::SampleRef> samples(const Batch& batch) const = 0;
  virtual at::Tensor pixels(const Batch& batch) const = 0;
  virtual const batches::CheckedCorpus& corpus() const = 0;
};

// The loss of a micro-batch, the mean over its pictures, and what is logged of it; the same figures every time.
struct BatchLoss {
  at::Tensor loss;
  std::vector<std::pair<std::string, at::Tensor>> figures;
  at::Tensor for_queue;  // features [n, D] that later steps compare with, where the objective has a queue
};

template <typename Batch>
class StreamObjective final : public training::Objective {
 public:
  using Loss = std::function<BatchLoss(const Batch& batch, std::uint64_t step)>;

  // `context` and the setup's training must outlive it. `queue`: what the loss compares with, if anything.
  StreamObjective(const run::Context& context, const TrainingSetup& setup, std::unique_ptr<BatchSource<Batch>> source,
                  Loss loss, std::shared_ptr<features::FeatureQueue> queue = nullptr)
      : context_(context),
        stage_(setup.stage),
        training_(*setup.training),
        source_(std::move(source)),
        loss_(std::move(loss)),
        queue_(std::move(queue)) {}

  void start(std::uint64_t step) override {
    source_->start(step);
    loader_.emplace(
        context_, stage_, training_, step,
        batches::MicroBatchMaker<Batch>{
            .begin = [this](std::uint64_t position, std::uint64_t count) { return source_->begin(position, count); },
            .fill = [this](Batch& batch, std::uint64_t item) { source_->fill(batch, item); },
            .items = source_->items(),
            .bytes = source_->bytes()});
  }

  training::MicroBatchResult micro_batch(std::uint64_t step, std::uint64_t) override {
    training::MicroBatchResult result;
    const Batch batch = loader_->next(result.data_wait);
    BatchLoss loss = loss_(batch, step);
    std::vector<data::SampleRef> samples = source_->samples(batch);
    last_pixels_ = source_->pixels(batch);
    if (queue_) queue_->hold(loss.for_queue);
    result.loss = std::move(loss.loss);
    result.figures = std::move(loss.figures);
    result.images = static_cast<std::int64_t>(samples.size());
    result.damaged = source_->corpus().damaged();
    result.samples_text = [this, samples = std::move(samples)] {
      return batches::samples_text(source_->corpus().corpus(), samples);
    };
    return result;
  }

  training::NamedTensors memory() override { return queue_ ? queue_->state() : training::NamedTensors(); }
  void finish_step(bool is_taken) override {
    if (queue_) queue_->finish_step(is_taken);
  }

  // The batch is that of the first step, the loss that of the last: terms whose weight rises with the training are
  // computed in most steps, but not in the first.
  std::function<at::Tensor()> rehearsal() const override {
    const data::BatchLayout layout =
        data::make_batch_layout((stage_ + ".training").c_str(), training_.global_batch(), training_.micro_batches(),
                                context_.world.rank(), context_.world.size());
    const auto batch = std::make_shared<Batch>(source_->begin(layout.position(0, 0), layout.samples()));
    // Samples count as used when the training comes to them.
    const data::DamageLog::Uncounted uncounted = source_->corpus().uncounted();
    std::atomic<std::uint64_t> next{0};
    runtime::run_on_threads(context_.loader_threads, [&](int) {
      for (std::uint64_t item = next++; item < source_->items(); item = next++) source_->fill(*batch, item);
    });
    return [this, batch] { return loss_(*batch, training_.steps() - 1).loss; };
  }

  at::Tensor pictures() const override { return last_pixels_; }

 private:
  const run::Context& context_;
  std::string stage_;
  const config::Training& training_;
  std::unique_ptr<BatchSource<Batch>> source_;
  Loss loss_;
  std::shared_ptr<features::FeatureQueue> queue_;  // may be null
  at::Tensor last_pixels_;
  std::optional<batches::MicroBatchLoader<Batch>> loader_;  // last: its threads use the rest
};

}  // namespace cskd::stages
