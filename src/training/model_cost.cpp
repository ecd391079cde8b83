#include "training/model_cost.h"

#include <memory>

#include <torch/types.h>
#include <torch/utils.h>

#include "models/headed_encoder.h"
#include "runtime/process_memory.h"
#include "training/compute_probe.h"

namespace cskd::training {
namespace {

class NoiseTraining {
 public:
  NoiseTraining(const ModelSubject& subject, const models::ComputeSettings& settings, const at::Device& device)
      : model_(std::make_shared<models::HeadedEncoder>(models::make_encoder(subject.encoder, subject.image_size),
                                                       models::kProjector, subject.outputs)),
        device_(device) {
    model_->to(device);
    model_->use(settings);
    model_->train();
    if (!subject.trains_encoder) {
      model_->encoder().eval();
      for (torch::Tensor& parameter : model_->encoder().parameters()) parameter.requires_grad_(false);
    }
    const int side = model_->shape().image_size;
    // As normalise() gives them.
    images_ = torch::randn({subject.batch, side, side, 3}, torch::TensorOptions(device)).permute({0, 3, 1, 2});
  }

  models::HeadedEncoder& model() { return *model_; }

  void micro_batch() { loss().backward(); }
  double training_seconds() {
    return best_time([this] { micro_batch(); }, device_);
  }
  double forward_seconds() {
    const torch::NoGradGuard no_gradients;
    return best_time([this] { loss(); }, device_);
  }

 private:
  torch::Tensor loss() { return model_->forward(images_).square().mean(); }

  std::shared_ptr<models::HeadedEncoder> model_;
  at::Device device_;
  torch::Tensor images_;
};

}  // namespace

ModelCost measure_cost(const ModelSubject& subject, const models::ComputeSettings& settings, const at::Device& device) {
  NoiseTraining training(subject, settings, device);
  ModelCost cost;
  for (const auto& [name, tensor] : training.model().state()) cost.parameters += tensor.numel();
  const std::uint64_t before = runtime::reset_peak_memory();
  training.micro_batch();
  // Gradients are counted with the model's state.
  const auto gradients = static_cast<std::uint64_t>(subject.trains_encoder ? 4 * cost.parameters : 0);
  const std::uint64_t peak = runtime::peak_memory();
  if (device.is_cpu() && before > 0 && peak > before + gradients) cost.activation_bytes = peak - before - gradients;
  cost.training_seconds = training.training_seconds();
  cost.forward_seconds = training.forward_seconds();
  return cost;
}

double training_seconds(const ModelSubject& subject, const models::ComputeSettings& settings,
                        const at::Device& device) {
  return NoiseTraining(subject, settings, device).training_seconds();
}

}  // namespace cskd::training
