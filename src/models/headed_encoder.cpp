#include "models/headed_encoder.h"

#include <array>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <torch/nn/init.h>
#include <torch/nn/modules/linear.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "models/safetensors.h"
#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::models {
namespace {

constexpr std::string_view kEncoderPrefix = "encoder.";

torch::MemoryFormat layout_of(MemoryFormat format) {
  return format == MemoryFormat::kChannelsLast ? torch::MemoryFormat::ChannelsLast : torch::MemoryFormat::Contiguous;
}

torch::nn::Linear new_head(std::int64_t inputs, std::int64_t outputs) {
  torch::nn::Linear head(inputs, outputs);
  torch::nn::init::normal_(head->weight, 0, 0.02);
  torch::nn::init::zeros_(head->bias);
  return head;
}

}  // namespace

HeadedEncoder::HeadedEncoder(std::shared_ptr<Encoder> encoder, std::string head, std::int64_t outputs)
    : encoder_(register_module("encoder", std::move(encoder))), head_name_(std::move(head)) {
  head_ = register_module(head_name_, new_head(encoder_->shape().pooled_width, outputs));
}

void HeadedEncoder::add_token_projector(std::int64_t outputs) {
  token_projector_ = register_module(kTokenProjector, new_head(encoder_->shape().token_width, outputs));
}

bool HeadedEncoder::is_head(const std::string& name) const {
  return name.starts_with(head_name_ + ".") || name.starts_with(std::string(kTokenProjector) + ".");
}

torch::Tensor HeadedEncoder::forward_from(const torch::Tensor& pooled) {
  const torch::Tensor seen = whitens_ ? torch::layer_norm(pooled, {pooled.size(-1)}) : pooled;
  return head_(torch::dropout(seen, feature_dropout_, is_training())).to(torch::kFloat);
}

torch::Tensor HeadedEncoder::forward(const torch::Tensor& images) { return forward_with_features(images).outputs; }

HeadedEncoder::WithFeatures HeadedEncoder::forward_with_features(const torch::Tensor& images, const Request& request) {
  const AutocastGuard guard(settings_.precision, images.device().type());
  Features features = encoder_->forward(images.contiguous(layout_of(settings_.memory_format)), request);
  return {.outputs = forward_from(features.pooled),
          .pooled = features.pooled.to(torch::kFloat),
          .asked = std::move(features)};
}

Features HeadedEncoder::project(const torch::Tensor& images) {
  CSKD_CHECK(!token_projector_.is_empty(), "{} has no token projector", shape().name);
  const AutocastGuard guard(settings_.precision, images.device().type());
  const Features features = encoder_->forward(images.contiguous(layout_of(settings_.memory_format)),
                                              Request{.tokens = true, .attention = {}});
  return {.pooled = forward_from(features.pooled),
          .tokens = token_projector_(features.tokens).to(torch::kFloat),
          .attention = {}};
}

void HeadedEncoder::use(const ComputeSettings& settings) {
  settings_ = settings;
  for (torch::Tensor& parameter : parameters()) {
    if (parameter.dim() == 4) parameter.set_data(parameter.detach().contiguous(layout_of(settings.memory_format)));
  }
}

std::string HeadedEncoder::file_name(const std::string& module_name) const {
  return module_name.starts_with(kEncoderPrefix) ? module_name.substr(kEncoderPrefix.size()) : module_name;
}

std::vector<std::pair<std::string, torch::Tensor>> HeadedEncoder::trainable() {
  std::vector<std::pair<std::string, torch::Tensor>> result;
  for (const auto& item : named_parameters()) {
    if (item.value().requires_grad()) result.emplace_back(file_name(item.key()), item.value());
  }
  return result;
}

std::vector<std::pair<std::string, torch::Tensor>> HeadedEncoder::state() {
  std::vector<std::pair<std::string, torch::Tensor>> result;
  for (const auto& item : named_parameters()) result.emplace_back(file_name(item.key()), item.value());
  for (const auto& item : statistics()) result.push_back(item);
  return result;
}

std::vector<std::pair<std::string, torch::Tensor>> HeadedEncoder::statistics() {
  std::vector<std::pair<std::string, torch::Tensor>> result;
  for (const auto& item : named_buffers()) {
    if (is_statistic(item.key())) result.emplace_back(file_name(item.key()), item.value());
  }
  return result;
}

void HeadedEncoder::load(const std::map<std::string, torch::Tensor>& weights, const std::string& origin,
                         bool encoder_only) {
  const torch::NoGradGuard no_gradients;
  for (auto& [name, tensor] : state()) {
    if (encoder_only && is_head(name)) continue;
    const auto found = weights.find(name);
    if (found == weights.end()) throw runtime::DataError(fmt::format("{} lacks the tensor '{}'", origin, name));
    if (found->second.sizes() != tensor.sizes()) {
      throw runtime::DataError(fmt::format("{}: tensor '{}' has {} numbers in another shape than the model's {}",
                                           origin, name, found->second.numel(), tensor.numel()));
    }
    require_finite(found->second, name, origin);
    tensor.copy_(found->second);
  }
}

namespace {

// [3] of 0..1 to [3] of 0..255 on the device, kept for the next call. Made without waiting for a GPU: values travel as
// arguments of the calls that write them.
torch::Tensor of_channels(const std::array<float, 3>& values, const torch::Device& device) {
  static std::mutex mutex;
  // Never destroyed: at the end of the process a GPU's driver may be gone before it.
  static auto& kept = *new std::map<std::pair<std::array<float, 3>, std::string>, torch::Tensor>;
  const std::lock_guard lock(mutex);
  torch::Tensor& tensor = kept[{values, device.str()}];
  if (!tensor.defined()) {
    const c10::InferenceMode for_trainings_too(false);
    tensor = torch::empty({3}, torch::TensorOptions(device));
    for (std::int64_t i = 0; i < 3; ++i) tensor[i].fill_(values[static_cast<std::size_t>(i)] * 255);
  }
  return tensor;
}

}  // namespace

torch::Tensor normalise(const torch::Tensor& pixels, const EncoderShape& shape) {
  const torch::Tensor mean = of_channels(shape.mean, pixels.device());
  const torch::Tensor stddev = of_channels(shape.stddev, pixels.device());
  // [N, S, S, 3] seen as [N, 3, S, S] is LibTorch's channels-last layout.
  return ((pixels.to(torch::kFloat) - mean) / stddev).permute({0, 3, 1, 2});
}

}  // namespace cskd::models
