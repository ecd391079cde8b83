// A HeadedEncoder that is trained, with a second one that holds the moving average of its weights.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "config/config.pb.h"
#include "inference/stage_model.h"
#include "models/compute_settings.h"
#include "models/layer_order.h"
#include "training/task.h"

namespace cskd::stages {

class HeadedPair : public training::TrainedModel {
 public:
  // `average` is a second model of the same structure, `stage` what trains them, `outputs` the width of the head. With
  // an encoder_rate of 0 the encoder is frozen.
  HeadedPair(std::string stage, const config::Training& training, inference::Model model, inference::Model average,
             std::int64_t outputs);

  models::HeadedEncoder& model() { return *model_; }
  models::HeadedEncoder& average_model() { return *average_; }
  const models::EncoderShape& shape() const { return model_->shape(); }
  std::int64_t outputs() const noexcept { return outputs_; }
  training::NamedTensors trainable() override { return model_->trainable(); }
  training::NamedTensors state() override { return model_->state(); }
  training::NamedTensors average() override { return average_->state(); }
  training::NamedTensors statistics() override { return model_->statistics(); }
  double rate(const std::string& parameter) const override;
  bool decays(const std::string& parameter, const at::Tensor& tensor) const override;
  void use(const models::ComputeSettings& settings) override;
  std::vector<std::pair<std::string, std::string>> metadata() const override;

 private:
  std::string stage_;
  const config::Training& training_;
  inference::Model model_;
  inference::Model average_;
  models::LayerOrder layers_;
  std::int64_t outputs_;
};

}  // namespace cskd::stages
