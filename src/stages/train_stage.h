// The way of every training: complete already, or from its newest checkpoint to model.safetensors.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "batches/batches.h"
#include "run/context.h"
#include "runtime/inputs.h"
#include "stages/headed_pair.h"
#include "stages/training_setup.h"
#include "training/task.h"

namespace cskd::stages {

// What a training consists of.
struct TaskParts {
  std::shared_ptr<batches::CheckedCorpus> corpus;
  std::shared_ptr<HeadedPair> model;
  std::shared_ptr<HeadedPair> partner;              // that is trained beside it; may be null
  std::shared_ptr<training::TrainedModel> trained;  // both; null: the model alone
  std::unique_ptr<training::Objective> objective;
  training::Validation validation;
};

// Validation of a model that scores pictures, and of its partner, if there is one, as "validation/partner_srcc" and so
// on.
training::Validation score_validation(const run::Context& context,
                                      const std::shared_ptr<batches::CheckedCorpus>& corpus,
                                      const std::shared_ptr<HeadedPair>& model,
                                      const std::shared_ptr<HeadedPair>& partner = nullptr);

// "train/loss" to "train/partner_loss".
std::string partners_name(const std::string& figure);

// Images of a micro-batch, of all streams.
std::int64_t micro_batch_images(const TrainingSetup& setup);

// Runs the trainer unless the stage is complete, and writes its model.safetensors, and a partner's partner.safetensors,
// from the moving average. Parts are made only where there is something to do.
run::StageOutcome train_stage(const run::Context& context, const TrainingSetup& setup, const runtime::Inputs& inputs,
                              const std::function<TaskParts()>& make_parts);

}  // namespace cskd::stages
