#include "stages/train_stage.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

#include "config/toml_writer.h"
#include "data/sampler.h"
#include "evaluation/validation.h"
#include "models/safetensors.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/shared_files.h"
#include "stages/compute_choice.h"
#include "stages/model_card.h"
#include "training/replay.h"
#include "training/trainer.h"

namespace cskd::stages {

void require_shares(const PictureStream& stream, std::uint64_t micro_batches) {
  if (stream.batch % micro_batches == 0) return;
  throw runtime::UsageError(
      fmt::format("{} is {}, which the {} micro-batches do not divide", stream.key, stream.batch, micro_batches));
}

std::string partners_name(const std::string& figure) {
  const std::size_t behind = figure.rfind('/') + 1;
  return figure.substr(0, behind) + "partner_" + figure.substr(behind);
}

training::Validation score_validation(const run::Context& context,
                                      const std::shared_ptr<batches::CheckedCorpus>& corpus,
                                      const std::shared_ptr<HeadedPair>& model,
                                      const std::shared_ptr<HeadedPair>& partner) {
  return {.run =
              [corpus, model, partner, validation = std::make_shared<evaluation::ScoreValidation>(*corpus, context)] {
                auto figures = (*validation)(model->average_model());
                if (partner) {
                  for (const auto& [name, value] : (*validation)(partner->average_model()))
                    figures.emplace_back(partners_name(name), value);
                }
                return figures;
              },
          .main_figure = "validation/srcc"};
}

std::int64_t micro_batch_images(const TrainingSetup& setup) {
  std::uint64_t images = 0;
  for (const PictureStream& stream : setup.streams) images += stream.batch / setup.training->micro_batches();
  return static_cast<std::int64_t>(images);
}

namespace {

training::TrainerOptions trainer_options(const run::Context& context, const TrainingSetup& setup,
                                         const runtime::Inputs& inputs, const models::ComputeSettings& settings) {
  return {
      .training = *setup.training,
      .seed = context.config.run().seed(),
      .folder = context.folder.stage(setup.stage),
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
      .pictures_every = context.config.logging().pictures_every(),
      .origin = {
          .configuration = config::to_toml(context.config), .results = context.folder.elsewhere, .settings = settings}};
}

constexpr const char* kPartnerFile = "partner.safetensors";

void write_average(HeadedPair& model, const std::filesystem::path& file) {
  const auto metadata = model.metadata();
  for (const auto& [name, tensor] : model.average()) models::require_finite(tensor, name, file.native());
  models::write_model(file, model.average(), {metadata.begin(), metadata.end()});
}

training::Task task_of(const std::string& name, const TaskParts& parts) {
  training::TrainedModel& model = parts.trained ? *parts.trained : *parts.model;
  return {.name = name, .model = model, .objective = *parts.objective, .validation = parts.validation};
}

run::StageOutcome replay_step(const run::Context& context, const TrainingSetup& setup, const runtime::Inputs& inputs,
                              const TaskParts& parts) {
  training::ReplayJob& job = *context.replay;
  const training::Task task = task_of(setup.stage, parts);
  task.model.use(job.capsule.origin.settings);
  job.report = training::replay(task, trainer_options(context, setup, inputs, job.capsule.origin.settings), job,
                                context.world, context.communicator);
  return {.completion = {.stage = setup.stage, .inputs = inputs}, .finished = false};
}

}  // namespace

run::StageOutcome train_stage(const run::Context& context, const TrainingSetup& setup, const runtime::Inputs& inputs,
                              const std::function<TaskParts()>& make_parts) {
  const std::string& name = setup.stage;
  const config::Training& training = *setup.training;
  const std::filesystem::path folder = context.folder.stage(name);
  if (context.replay != nullptr) return replay_step(context, setup, inputs, make_parts());
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
  const TaskParts parts = make_parts();
  HeadedPair& model = *parts.model;
  const training::Task task = task_of(name, parts);
  const models::ComputeSettings settings = choose_compute(context, task,
                                                          {.encoder = model.shape().name,
                                                           .image_size = model.shape().image_size,
                                                           .outputs = model.outputs(),
                                                           .batch = micro_batch_images(setup),
                                                           .trains_encoder = training.encoder_rate() > 0});
  task.model.use(settings);
  const training::TrainerOptions options = trainer_options(context, setup, inputs, settings);
  const training::TrainingOutcome trained =
      train(task, options, context.world, context.communicator, *context.observer);
  run::StageOutcome outcome{
      .completion = {.stage = name, .inputs = inputs, .seconds = trained.seconds, .images = trained.images}};
  outcome.completion.facts = nlohmann::ordered_json{{"steps", trained.steps},
                                                    {"loss", trained.loss},
                                                    {"precision", models::name_of(settings.precision)},
                                                    {"memory_format", models::name_of(settings.memory_format)}}
                                 .dump();
  outcome.completion.products = {"model.safetensors"};
  if (parts.partner) outcome.completion.products.emplace_back(kPartnerFile);
  outcome.finished = trained.finished;
  if (outcome.finished && context.world.rank() == 0) {
    runtime::failure_point("stage.model", name);
    if (parts.partner) write_average(*parts.partner, folder / kPartnerFile);
    write_average(model, context.folder.model(name));
    std::int64_t parameters = 0;
    for (const auto& [tensor_name, tensor] : model.average()) parameters += tensor.numel();
    runtime::write_file_atomically(folder / "model_card.md",
                                   model_card(context.config,
                                              {.stage = name,
                                               .shape = model.shape(),
                                               .scores = setup.learns_scores,
                                               .outputs = model.outputs(),
                                               .parameters = parameters,
                                               .training = training_sentence(context.config, setup)},
                                              parts.corpus->corpus().manifest()));
    run::write_completion(folder, outcome.completion);
  }
  context.world.barrier();
  // Whoever comes next reads it, on every rank.
  if (outcome.finished) runtime::wait_until_there(context.folder.model(name));
  return outcome;
}

}  // namespace cskd::stages
