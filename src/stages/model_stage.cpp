#include "stages/model_stage.h"

#include <map>

#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "models/safetensors.h"
#include "runtime/failure_point.h"

namespace cskd::stages {

ModelStage::ModelStage(std::string name, const config::Training& training, Headed model, Headed average,
                       std::int64_t outputs)
    : name_(std::move(name)),
      encoder_rate_(training.encoder_rate()),
      model_(std::move(model)),
      average_(std::move(average)),
      outputs_(outputs) {
  model_->train();
  model_->set_feature_dropout(training.feature_dropout());
  average_->eval();
  if (encoder_rate_ == 0) {
    model_->encoder().eval();
    for (const torch::Tensor& parameter : model_->encoder().parameters()) parameter.requires_grad_(false);
  }
  for (const torch::Tensor& parameter : average_->parameters()) parameter.requires_grad_(false);
}

std::vector<std::pair<std::string, std::string>> ModelStage::metadata() const {
  return model_metadata(*model_, name_, outputs_);
}

StageOutcome train_stage(const Context& context, const std::string& name, const config::Training& training,
                         const runtime::ContentHash& inputs,
                         const std::function<std::unique_ptr<training::Stage>()>& make_stage) {
  const std::filesystem::path folder = context.folder.stage(name);
  if (const auto done = agree_on_completion(folder, inputs, context.world))
    return {.completion = *done, .done_before = true};
  make_stage_folder(folder, context.world);
  const std::unique_ptr<training::Stage> stage = make_stage();
  training::TrainerOptions options{.training = training,
                                   .seed = context.config.run().seed(),
                                   .folder = folder,
                                   .inputs = inputs,
                                   .resume = context.resume,
                                   .start_timeout = std::chrono::seconds(context.config.compute().start_timeout()),
                                   .step_timeout = std::chrono::seconds(context.config.compute().step_timeout())};
  const training::TrainingOutcome trained =
      train(*stage, options, context.world, context.communicator, *context.observer);
  StageOutcome outcome{
      .completion = {.stage = name, .inputs = inputs, .seconds = trained.seconds, .images = trained.images}};
  outcome.completion.facts = nlohmann::ordered_json{{"steps", trained.steps}, {"loss", trained.loss}}.dump();
  outcome.completion.products = {"model.safetensors"};
  outcome.finished = trained.finished;
  if (outcome.finished && context.world.rank() == 0) {
    runtime::failure_point("stage.model", name);
    const auto metadata = stage->metadata();
    models::write_safetensors(context.folder.model(name), stage->average(), {metadata.begin(), metadata.end()});
    write_completion(folder, outcome.completion);
  }
  context.world.barrier();
  return outcome;
}

}  // namespace cskd::stages
