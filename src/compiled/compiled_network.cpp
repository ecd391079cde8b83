#include "compiled/compiled_network.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <utility>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <fmt/format.h>
#include <torch/nn/modules/normalization.h>

#include "compiled/network_plan.h"
#include "export/recording.h"
#include "models/packable_linear.h"
#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::compiled {
namespace {

// Before it is recorded: five images through a large network take seconds.
void require_convolutions(models::Encoder& encoder) {
  for (const std::shared_ptr<torch::nn::Module>& module : encoder.modules()) {
    if (module->as<torch::nn::LayerNorm>() != nullptr || module->as<models::PackableLinear>() != nullptr) {
      throw runtime::DataError(
          fmt::format("the network is not compiled: {} has attention or norms of places", encoder.shape().name));
    }
  }
}

}  // namespace

CompiledNetwork::CompiledNetwork(models::Encoder& encoder, int threads)
    : threads_(threads), side_(encoder.shape().image_size), pool_(threads), width_(encoder.shape().pooled_width) {
  require_convolutions(encoder);
  const models::EncoderShape& shape = encoder.shape();
  const exporting::Recording recording = [&] {
    const c10::InferenceMode no_inference(false);
    const c10::NoGradGuard no_gradients;
    return exporting::record(
        [&](const at::Tensor& images) { return std::vector<at::Tensor>{encoder.forward(images).pooled}; },
        at::zeros({1, 3, side_, side_}));
  }();
  std::vector<float> factors;
  std::vector<float> shifts;
  for (std::size_t channel = 0; channel < shape.mean.size(); ++channel) {
    factors.push_back(1 / (255 * shape.stddev[channel]));
    shifts.push_back(-shape.mean[channel] / shape.stddev[channel]);
  }
  NetworkPlan plan = plan_network(recording, [&](std::size_t map, const MapSize& size) {
    auto step = std::make_unique<PixelStep>(map, size, factors, shifts);
    pixels_ = step.get();
    return step;
  });
  steps_ = std::move(plan.steps);
  memory_ = std::make_unique<StepMemory>(std::move(plan.maps));
  output_ = plan.output;
  CSKD_CHECK(plan.width == static_cast<std::size_t>(width_), "features of width {} for {}", plan.width, width_);
}

at::Tensor CompiledNetwork::pooled(const at::Tensor& pixels) {
  CSKD_CHECK(pixels.dim() == 4 && pixels.size(1) == side_ && pixels.size(2) == side_ && pixels.size(3) == 3 &&
                 pixels.scalar_type() == at::kByte && pixels.is_contiguous(),
             "pixels of {} dimensions for {} pixels a side", pixels.dim(), side_);
  const auto images = static_cast<std::size_t>(pixels.size(0));
  const at::Tensor features = at::empty({pixels.size(0), width_});
  if (images == 0) return features;
  if (images != images_) {
    memory_->reserve(images);
    for (const std::unique_ptr<Step>& step : steps_) step->prepare(images, *memory_, pool_.get());
    images_ = images;
  }
  pixels_->take(pixels.const_data_ptr<std::uint8_t>());
  for (const std::unique_ptr<Step>& step : steps_) step->run(pool_.get());
  std::memcpy(features.data_ptr<float>(), memory_->at(output_), features.nbytes());
  return features;
}

std::optional<double> seconds_of_one_image(const std::string& encoder, int image_size, int threads) {
  constexpr std::size_t kTimes = 51;
  const c10::InferenceMode inference;
  const std::shared_ptr<models::Encoder> made = models::make_encoder(encoder, image_size);
  made->eval();
  for (const at::Tensor& parameter : made->parameters()) parameter.requires_grad_(false);
  made->fold_for_inference();
  std::unique_ptr<CompiledNetwork> network;
  try {
    network = std::make_unique<CompiledNetwork>(*made, threads);
  } catch (const runtime::DataError&) {
    return std::nullopt;
  }
  const int side = made->shape().image_size;
  const at::Tensor pixels = at::randint(256, {1, side, side, 3}, at::kByte);
  std::vector<double> seconds;
  for (std::size_t i = 0; i < kTimes; ++i) {
    const auto begin = std::chrono::steady_clock::now();
    network->pooled(pixels);
    seconds.push_back(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count());
  }
  std::ranges::nth_element(seconds, seconds.begin() + kTimes / 2);
  return seconds[kTimes / 2];
}

}  // namespace cskd::compiled
