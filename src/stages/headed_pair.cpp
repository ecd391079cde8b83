#include "stages/headed_pair.h"

#include <torch/types.h>

namespace cskd::stages {
namespace {

std::vector<std::string> names_of(const training::NamedTensors& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  return names;
}

}  // namespace

HeadedPair::HeadedPair(std::string stage, const config::Training& training, inference::Model model,
                       inference::Model average, std::int64_t outputs)
    : stage_(std::move(stage)),
      training_(training),
      model_(std::move(model)),
      average_(std::move(average)),
      layers_(names_of(model_->trainable()), models::parameter_names(model_->shape().name)),
      outputs_(outputs) {
  model_->train();
  model_->set_feature_dropout(training.feature_dropout());
  model_->encoder().set_drop_path(training.drop_path());
  average_->eval();
  if (training.encoder_rate() == 0) {
    model_->encoder().eval();
    for (const torch::Tensor& parameter : model_->encoder().parameters()) parameter.requires_grad_(false);
  }
  for (const torch::Tensor& parameter : average_->parameters()) parameter.requires_grad_(false);
}

double HeadedPair::rate(const std::string& parameter) const {
  const double share = layers_.rate_share(parameter, training_.layer_decay());
  return model_->is_head(parameter) ? share : share * training_.encoder_rate();
}

bool HeadedPair::decays(const std::string& parameter, const at::Tensor& tensor) const {
  if (training_.decayed() == config::Training::everything) return true;
  return tensor.dim() > 1 && (training_.decayed() == config::Training::matrices || !layers_.is_embedding(parameter));
}

std::vector<std::pair<std::string, std::string>> HeadedPair::metadata() const {
  const auto metadata = models::model_metadata(*model_, stage_, outputs_);
  return {metadata.begin(), metadata.end()};
}

void HeadedPair::use(const models::ComputeSettings& settings) {
  model_->use(settings);
  average_->use(settings);
}

}  // namespace cskd::stages
