#include "inference/stage_model.h"

#include <fmt/format.h>
#include <torch/types.h>
#include <torch/utils.h>

#include "data/sampler.h"
#include "models/construction.h"
#include "models/safetensors.h"
#include "runtime/error.h"
#include "runtime/philox.h"
#include "runtime/shared_files.h"

namespace cskd::inference {
namespace {

// Of a head that does not see features as they come.
constexpr const char* kHeadInput = "head_input";
constexpr const char* kWhitened = "whitened";

}  // namespace

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

StoredModel read_stage_model(const run::Context& context, const std::string& stage) {
  StoredModel stored{.path = context.folder.model(stage)};
  const std::string& name = stored.path.native();
  if (!runtime::wait_until_there(stored.path))
    throw runtime::UsageError(fmt::format("{} is missing: {} has not trained it yet", name, stage));
  const models::SafetensorsHeader header = models::read_safetensors_header(stored.path);
  const auto field = [&](const char* key) {
    const auto found = header.metadata.find(key);
    if (found == header.metadata.end())
      throw runtime::DataError(fmt::format("{} lacks '{}' in its metadata", name, key));
    return found->second;
  };
  const auto number = [&](const char* key) {
    const std::string text = field(key);
    if (text.empty() || text.size() > 6 || text.find_first_not_of("0123456789") != std::string::npos) {
      throw runtime::DataError(
          fmt::format("{}: '{}' of its metadata is '{}', expected a whole number", name, key, text));
    }
    return std::stoi(text);
  };
  stored.encoder = field("encoder");
  stored.image_size = number("image_size");
  stored.outputs = number("outputs");
  stored.whitens = header.metadata.contains(kHeadInput);
  if (stored.whitens && field(kHeadInput) != std::string(kWhitened)) {
    throw runtime::DataError(
        fmt::format("{}: '{}' of its metadata is '{}', expected '{}'", name, kHeadInput, field(kHeadInput), kWhitened));
  }
  stored.tensors = models::read_safetensors(stored.path);
  return stored;
}

Model load_stage_model(const run::Context& context, const std::string& stage, const char* head) {
  const StoredModel stored = read_stage_model(context, stage);
  const Model model = [&] {
    const models::ConstructionGuard unset(models::Construction::kUnset);
    return make_model(context, stored.encoder, stored.image_size, head, stored.outputs, stage);
  }();
  model->load(stored.tensors, stored.path.native(), false);
  model->whiten_features(stored.whitens);
  model->eval();
  for (const torch::Tensor& parameter : model->parameters()) parameter.requires_grad_(false);
  model->encoder().fold_norms();
  return model;
}

std::vector<std::pair<std::string, std::string>> model_metadata(const models::HeadedEncoder& model,
                                                                const std::string& stage, std::int64_t outputs) {
  std::vector<std::pair<std::string, std::string>> metadata{{"format", "cskd-model"},
                                                            {"stage", stage},
                                                            {"encoder", model.shape().name},
                                                            {"image_size", std::to_string(model.shape().image_size)},
                                                            {"outputs", std::to_string(outputs)}};
  if (model.whitens_features()) metadata.emplace_back(kHeadInput, kWhitened);
  return metadata;
}

}  // namespace cskd::inference
