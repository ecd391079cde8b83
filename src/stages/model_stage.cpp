#include "stages/model_stage.h"

#include <map>

#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "models/safetensors.h"
#include "runtime/failure_point.h"
#include "runtime/shared_files.h"
#include "stages/compute_choice.h"
#include "training/trainer.h"

namespace cskd::stages {
namespace {

std::vector<std::string> names_of(const training::NamedTensors& tensors) {
  std::vector<std::string> names;
  for (const auto& [name, tensor] : tensors) names.push_back(name);
  return names;
}

}  // namespace

void require_shares(const PictureStream& stream, std::uint64_t micro_batches) {
  if (stream.batch % micro_batches == 0) return;
  throw runtime::UsageError(fmt::format("{} is {}, which the {} micro-batches do not divide", stream.key, stream.batch,
                                        micro_batches));
}

ModelStage::ModelStage(std::string name, const config::Training& training, inference::Headed model,
                       inference::Headed average, std::int64_t outputs)
    : name_(std::move(name)),
      training_(training),
      model_(std::move(model)),
      average_(std::move(average)),
      layers_(names_of(model_->trainable())),
      outputs_(outputs) {
  model_->train();
  model_->set_feature_dropout(training.feature_dropout());
  average_->eval();
  if (training.encoder_rate() == 0) {
    model_->encoder().eval();
    for (const torch::Tensor& parameter : model_->encoder().parameters()) parameter.requires_grad_(false);
  }
  for (const torch::Tensor& parameter : average_->parameters()) parameter.requires_grad_(false);
}

double ModelStage::rate(const std::string& parameter) const {
  const double share = layers_.rate_share(parameter, training_.layer_decay());
  return model_->is_head(parameter) ? share : share * training_.encoder_rate();
}

bool ModelStage::decays(const std::string& parameter, const at::Tensor& tensor) const {
  if (training_.decayed() == config::Training::everything) return true;
  return tensor.dim() > 1 && (training_.decayed() == config::Training::matrices || !models::is_embedding(parameter));
}

void ModelStage::describe(training::MicroBatchResult& result, const batches::CheckedCorpus& corpus, at::Tensor pixels,
                          std::vector<data::SampleRef> samples) {
  last_pictures_ = std::move(pixels);
  result.samples_text = [&corpus, samples = std::move(samples)] {
    return batches::samples_text(corpus.corpus(), samples);
  };
  result.damaged = corpus.damaged();
}

std::vector<std::pair<std::string, std::string>> ModelStage::metadata() const {
  return inference::model_metadata(*model_, name_, outputs_);
}

training::ProbeOptions ModelStage::probe_options() const {
  return {.encoder = model_->shape().name,
          .image_size = model_->shape().image_size,
          .outputs = outputs_,
          .batch = micro_batch_images(),
          .trains_encoder = training_.encoder_rate() > 0};
}

void ModelStage::use(const models::ComputeSettings& settings) {
  model_->use(settings);
  average_->use(settings);
}

run::StageOutcome train_stage(const run::Context& context, const TrainingSetup& setup, const runtime::Inputs& inputs,
                              const std::function<std::unique_ptr<ModelStage>()>& make_stage) {
  const std::string& name = setup.stage;
  const config::Training& training = *setup.training;
  const std::filesystem::path folder = context.folder.stage(name);
  if (const auto done =
          run::agree_on_completion(folder, inputs, context.world, run::OtherInputs::kRefuse, context.allowed_changes)) {
    runtime::wait_until_there(context.folder.model(name));
    return {.completion = *done, .done_before = true};
  }
  // Before anything takes time.
  static_cast<void>(data::make_batch_layout((name + ".training").c_str(), training.global_batch(),
                                            training.micro_batches(), context.world.rank(), context.world.size()));
  for (const PictureStream& stream : setup.streams) require_shares(stream, training.micro_batches());
  run::make_stage_folder(folder, context.world);
  const std::unique_ptr<ModelStage> stage = make_stage();
  const models::ComputeSettings settings = choose_compute(context, name, stage->probe_options());
  stage->use(settings);
  training::TrainerOptions options{.training = training,
                                   .seed = context.config.run().seed(),
                                   .folder = folder,
                                   .inputs = inputs,
                                   .allowed_changes = context.allowed_changes,
                                   .resume = context.resume,
                                   .start_timeout = std::chrono::seconds(context.config.compute().start_timeout()),
                                   .step_timeout = std::chrono::seconds(context.config.compute().step_timeout()),
                                   .pace = context.pace,
                                   .trace = context.trace,
                                   .trace_after = context.config.logging().trace_after(),
                                   .trace_steps = context.config.logging().trace_steps(),
                                   .tensors_every = context.config.logging().histograms_every(),
                                   .pictures_every = context.config.logging().pictures_every()};
  const training::TrainingOutcome trained =
      train(*stage, options, context.world, context.communicator, *context.observer);
  run::StageOutcome outcome{
      .completion = {.stage = name, .inputs = inputs, .seconds = trained.seconds, .images = trained.images}};
  outcome.completion.facts = nlohmann::ordered_json{{"steps", trained.steps},
                                                    {"loss", trained.loss},
                                                    {"precision", models::name_of(settings.precision)},
                                                    {"memory_format", models::name_of(settings.memory_format)}}
                                 .dump();
  outcome.completion.products = {"model.safetensors"};
  outcome.finished = trained.finished;
  if (outcome.finished && context.world.rank() == 0) {
    runtime::failure_point("stage.model", name);
    const auto metadata = stage->metadata();
    models::write_safetensors(context.folder.model(name), stage->average(), {metadata.begin(), metadata.end()});
    run::write_completion(folder, outcome.completion);
  }
  context.world.barrier();
  // Whoever comes next reads it, on every rank.
  if (outcome.finished) runtime::wait_until_there(context.folder.model(name));
  return outcome;
}

}  // namespace cskd::stages
