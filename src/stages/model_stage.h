// A training of one HeadedEncoder with its moving average: what Stage I and Stage II have in common.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "batches/batches.h"
#include "data/sampler.h"
#include "inference/stage_model.h"
#include "models/layer_order.h"
#include "run/context.h"
#include "stages/training_setup.h"
#include "training/compute_probe.h"
#include "training/stage.h"

namespace cskd::stages {

class ModelStage : public training::Stage {
 public:
  // `average` is a second model of the same structure. With an encoder_rate of 0 the encoder is frozen.
  ModelStage(std::string name, const config::Training& training, inference::Headed model, inference::Headed average,
             std::int64_t outputs);

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
  // What all trainings tell of a micro-batch: the samples in it, uses of damaged ones, and for pictures() its pixels
  // [n, S, S, 3] uint8. `corpus` must outlive the result.
  void describe(training::MicroBatchResult& result, const batches::CheckedCorpus& corpus, at::Tensor pixels,
                std::vector<data::SampleRef> samples);

 private:
  std::string name_;
  const config::Training& training_;
  inference::Headed model_;
  inference::Headed average_;
  models::LayerOrder layers_;
  at::Tensor last_pictures_;
  std::int64_t outputs_;
};

// Runs the trainer unless the stage is complete, and writes its model.safetensors from the moving average.
run::StageOutcome train_stage(const run::Context& context, const TrainingSetup& setup, const runtime::Inputs& inputs,
                              const std::function<std::unique_ptr<ModelStage>()>& make_stage);

}  // namespace cskd::stages
