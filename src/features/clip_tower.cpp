#include "features/clip_tower.h"

#include <torch/torch.h>

#include "runtime/error.h"
#include "runtime/input_file.h"

namespace cskd::features {

runtime::ContentHash clip_inputs(const config::Config& config) {
  const config::Clip& clip = config.clip();
  if (clip.weights().empty()) {
    throw runtime::UsageError("clip.weights is not given: name a safetensors file with the weights of clip.encoder");
  }
  runtime::ContentHasher hasher;
  hasher.add_field(clip.encoder());
  runtime::add_contents(runtime::InputFile(clip.weights()), hasher);
  return hasher.hash();
}

std::shared_ptr<models::Encoder> load_clip(const run::Context& context) {
  std::shared_ptr<models::Encoder> encoder = models::make_encoder(context.config.clip().encoder());
  models::load_encoder_weights(*encoder, context.config.clip().weights());
  encoder->to(context.communicator.device());
  encoder->eval();
  for (const torch::Tensor& parameter : encoder->parameters()) parameter.requires_grad_(false);
  return encoder;
}

}  // namespace cskd::features
