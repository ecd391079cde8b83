#include "features/tower.h"

#include <torch/torch.h>

#include "runtime/error.h"
#include "runtime/input_file.h"

namespace cskd::features {

runtime::ContentHash weights_digest(const config::Tower& tower) {
  runtime::ContentHasher hasher;
  hasher.add_field(tower.architecture());
  runtime::add_contents(runtime::InputFile(tower.weights()), hasher);
  return hasher.hash();
}

std::shared_ptr<models::Encoder> load_tower(const run::Context& context, const config::Tower& tower) {
  std::shared_ptr<models::Encoder> encoder = models::make_encoder(tower.architecture());
  models::load_encoder_weights(*encoder, tower.weights());
  encoder->to(context.communicator.device());
  encoder->eval();
  for (const torch::Tensor& parameter : encoder->parameters()) parameter.requires_grad_(false);
  return encoder;
}

}  // namespace cskd::features
