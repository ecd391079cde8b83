// Two models that are trained together, as one model of the training loop.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "stages/headed_pair.h"
#include "training/task.h"

namespace cskd::stages {

// Tensors of the first under their own names, of the second behind "partner.". Metadata are the first's.
class Learners final : public training::TrainedModel {
 public:
  Learners(std::shared_ptr<HeadedPair> first, std::shared_ptr<HeadedPair> second)
      : first_(std::move(first)), second_(std::move(second)) {}

  training::NamedTensors trainable() override;
  training::NamedTensors state() override;
  training::NamedTensors average() override;
  training::NamedTensors statistics() override;
  double rate(const std::string& parameter) const override;
  bool decays(const std::string& parameter, const at::Tensor& tensor) const override;
  void use(const models::ComputeSettings& settings) override;
  std::vector<std::pair<std::string, std::string>> metadata() const override { return first_->metadata(); }

 private:
  std::shared_ptr<HeadedPair> first_, second_;
};

}  // namespace cskd::stages
