// A training of one HeadedEncoder with its moving average: what Stage I and Stage II have in common.
#pragma once

#include <chrono>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "data/prefetcher.h"
#include "data/sampler.h"
#include "stages/context.h"
#include "stages/model_setup.h"
#include "training/stage.h"

namespace cskd::stages {

class ModelStage : public training::Stage {
 public:
  // `average` is a second model of the same structure.
  ModelStage(std::string name, Headed model, Headed average, std::int64_t outputs);

  std::string name() const override { return name_; }
  training::NamedTensors trainable() override { return model_->trainable(); }
  training::NamedTensors state() override { return model_->state(); }
  training::NamedTensors average() override { return average_->state(); }
  std::vector<std::pair<std::string, std::string>> metadata() const override;

 protected:
  models::HeadedEncoder& model() { return *model_; }
  models::HeadedEncoder& average_model() { return *average_; }

 private:
  std::string name_;
  Headed model_;
  Headed average_;
  std::int64_t outputs_;
};

// Batches of this rank's micro-batches, made ahead: make(step, own_index) on loader threads.
template <typename Batch>
class MicroBatchLoader {
 public:
  using Make = std::function<Batch(std::uint64_t step, std::uint64_t own_index)>;

  MicroBatchLoader(const Context& context, const config::Training& training, const data::BatchLayout& layout,
                   std::uint64_t first_step, Make make)
      : prefetcher_(context.loader_threads, static_cast<std::uint64_t>(context.loader_threads) + 2,
                    first_step * layout.own(), training.steps() * layout.own(),
                    [make = std::move(make), own = layout.own()](std::uint64_t ticket) {
                      return make(ticket / own, ticket % own);
                    }) {}

  // The next batch, and how long the caller waited for it.
  Batch next(double& seconds_waited) {
    const auto start = std::chrono::steady_clock::now();
    Batch batch = prefetcher_.next();
    seconds_waited = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return batch;
  }

 private:
  data::Prefetcher<Batch> prefetcher_;
};

// Runs the trainer unless the stage is complete, and writes <stage>/model.safetensors from the moving average.
StageOutcome train_stage(const Context& context, const std::string& name, const config::Training& training,
                         const runtime::ContentHash& inputs,
                         const std::function<std::unique_ptr<training::Stage>()>& make_stage);

}  // namespace cskd::stages
