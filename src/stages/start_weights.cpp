#include "stages/start_weights.h"

#include <map>
#include <memory>
#include <string>

#include <fmt/format.h>
#include <torch/torch.h>

#include "features/clip_tower.h"
#include "inference/stage_model.h"
#include "runtime/error.h"

namespace cskd::stages {
namespace {

void require_same(const models::EncoderShape& shape, const std::string& encoder, int image_size, const char* of) {
  if (shape.name == encoder && shape.image_size == image_size) return;
  throw runtime::UsageError(fmt::format("weights of {} belong to '{}' at {} pixels, but the model is '{}' at {} pixels",
                                        of, encoder, image_size, shape.name, shape.image_size));
}

}  // namespace

void start_weights(models::HeadedEncoder& model, config::Start start, const run::Context& context) {
  const models::EncoderShape& shape = model.shape();
  if (start == config::clip) {
    const std::shared_ptr<models::Encoder> clip = features::load_clip(context);
    require_same(shape, clip->shape().name, clip->shape().image_size, "[clip]");
    models::load_encoder_weights(model.encoder(), context.config.clip().weights());
  } else if (start == config::aligned) {
    const std::filesystem::path path = context.folder.model("align");
    const inference::Headed aligned = inference::load_stage_model(context, "align", models::kProjector);
    require_same(shape, aligned->shape().name, aligned->shape().image_size, "Stage I");
    std::map<std::string, torch::Tensor> weights;
    for (const auto& [name, tensor] : aligned->state()) weights.emplace(name, tensor);
    model.load(weights, path.native(), true);
  }
}

}  // namespace cskd::stages
