// A training of one HeadedEncoder with its moving average: what Stage I and Stage II have in common.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/sampler.h"
#include "models/layer_order.h"
#include "stages/batches.h"
#include "stages/context.h"
#include "stages/model_setup.h"
#include "training/compute_probe.h"
#include "training/stage.h"

namespace cskd::stages {

class ModelStage : public training::Stage {
 public:
  // `average` is a second model of the same structure. With an encoder_rate of 0 the encoder is frozen.
  ModelStage(std::string name, const config::Training& training, Headed model, Headed average, std::int64_t outputs);

  std::string name() const override { return name_; }
  training::NamedTensors trainable() override { return model_->trainable(); }
  training::NamedTensors state() override { return model_->state(); }
  training::NamedTensors average() override { return average_->state(); }
  training::NamedTensors statistics() override { return model_->statistics(); }
  double rate(const std::string& parameter) const override;
  bool decays(const std::string& parameter, const at::Tensor& tensor) const override;
  at::Tensor pictures() const override { return last_pictures_; }
  std::vector<std::pair<std::string, std::string>> metadata() const override;

  // Images of a micro-batch.
  virtual std::int64_t micro_batch_images() const = 0;
  // What the start-up probe has to know.
  training::ProbeOptions probe_options() const;
  // How the models compute from now on. Before trainable(), state() and average() are given away.
  void use(const models::ComputeSettings& settings);

 protected:
  models::HeadedEncoder& model() { return *model_; }
  models::HeadedEncoder& average_model() { return *average_; }
  // For pictures(): [n, S, S, 3] uint8.
  void keep_pictures(at::Tensor pixels) { last_pictures_ = std::move(pixels); }

 private:
  std::string name_;
  const config::Training& training_;
  Headed model_;
  Headed average_;
  models::LayerOrder layers_;
  at::Tensor last_pictures_;
  std::int64_t outputs_;
};

// How micro-batches of `samples` samples are made; see data::BatchMaker.
template <typename Batch>
struct MicroBatchMaker {
  // For the samples from `position` of the stage's streams on.
  std::function<Batch(std::uint64_t position, std::uint64_t samples)> begin;
  std::function<void(Batch& batch, std::uint64_t item)> fill;
  std::uint64_t items = 0;  // of a micro-batch
  std::uint64_t bytes = 0;
};

// This rank's micro-batches, made ahead on loader threads, from `first_step` to the end of the training.
template <typename Batch>
class MicroBatchLoader {
 public:
  // Throws UsageError as make_batch_layout().
  MicroBatchLoader(const Context& context, const std::string& stage, const config::Training& training,
                   std::uint64_t first_step, MicroBatchMaker<Batch> maker) {
    const data::BatchLayout layout =
        data::make_batch_layout((stage + ".training").c_str(), training.global_batch(), training.micro_batches(),
                                context.world.rank(), context.world.size());
    const std::uint64_t bytes = maker.bytes;
    data::BatchMaker<Batch> by_ticket{.begin =
                                          [layout, begin = std::move(maker.begin)](std::uint64_t ticket) {
                                            return begin(layout.position(ticket / layout.own(), ticket % layout.own()),
                                                         layout.samples());
                                          },
                                      .fill = std::move(maker.fill),
                                      .items = [items = maker.items](std::uint64_t) { return items; }};
    loader_ = make_loader<Batch>(context, bytes, first_step * layout.own(), training.steps() * layout.own(),
                                 std::move(by_ticket));
  }

  // The next batch, and how long the caller waited for it.
  Batch next(double& seconds_waited) {
    const auto start = std::chrono::steady_clock::now();
    Batch batch = loader_->next();
    seconds_waited = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return batch;
  }

 private:
  std::unique_ptr<data::Loader<Batch>> loader_;
};

// Runs the trainer unless the stage is complete, and writes <stage>/model.safetensors from the moving average.
StageOutcome train_stage(const Context& context, const std::string& name, const config::Training& training,
                         const runtime::Inputs& inputs, const std::function<std::unique_ptr<ModelStage>()>& make_stage);

}  // namespace cskd::stages
