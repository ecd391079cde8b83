#include "inference/stage_model.h"

#include <fmt/format.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "data/sampler.h"
#include "models/construction.h"
#include "runtime/error.h"
#include "runtime/philox.h"
#include "runtime/shared_files.h"

namespace cskd::inference {

Model make_model(const run::Context& context, const std::string& encoder, int image_size, const char* head,
                 std::int64_t outputs, const std::string& purpose, std::int64_t token_outputs) {
  const std::uint64_t item = runtime::content_hash(purpose).prefix();
  torch::manual_seed(runtime::Philox(context.config.run().seed(), data::kStreamModel, item).bits64());
  auto model = std::make_shared<models::HeadedEncoder>(models::make_encoder(encoder, image_size), head, outputs);
  if (token_outputs > 0) model->add_token_projector(token_outputs);
  model->to(context.communicator.device());
  model->use({});
  return model;
}

models::StoredModel read_stage_model(const run::Context& context, const std::string& stage) {
  const std::filesystem::path path = context.folder.model(stage);
  if (!runtime::wait_until_there(path))
    throw runtime::UsageError(fmt::format("{} is missing: {} has not trained it yet", path.native(), stage));
  return models::read_model(path);
}

Model load_stage_model(const run::Context& context, const std::string& stage, const char* head) {
  const models::StoredModel stored = read_stage_model(context, stage);
  const Model model = [&] {
    const models::ConstructionGuard unset(models::Construction::kUnset);
    return make_model(context, stored.encoder, stored.image_size, head, stored.outputs, stage);
  }();
  model->load(stored.tensors, stored.path.native(), false);
  model->whiten_features(stored.whitens);
  model->eval();
  for (const torch::Tensor& parameter : model->parameters()) parameter.requires_grad_(false);
  model->encoder().fold_for_inference();
  return model;
}

}  // namespace cskd::inference
