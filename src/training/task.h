// A task of the training loop: a model, what is minimised over which batches, and how the model is judged.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "models/compute_settings.h"

namespace cskd::training {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// What is trained.
class TrainedModel {
 public:
  virtual ~TrainedModel() = default;

  // The model's parameters that are trained; all that a checkpoint keeps of it (parameters and buffers, names of weight
  // files); and the same tensors, in the same order, of a second model that holds the moving average of the weights.
  virtual NamedTensors trainable() = 0;
  virtual NamedTensors state() = 0;
  virtual NamedTensors average() = 0;
  // Those of state() that a forward pass changes by itself: running statistics.
  virtual NamedTensors statistics() = 0;

  // Share of the learning rate that a trainable parameter has, and whether its weight decays.
  virtual double rate(const std::string& parameter) const = 0;
  virtual bool decays(const std::string& parameter, const at::Tensor& tensor) const = 0;

  // How both models compute from now on. May give parameters other memory: before the training keeps any of these.
  virtual void use(const models::ComputeSettings& settings) = 0;

  // Metadata of the weight files: what is needed to build the model again.
  virtual std::vector<std::pair<std::string, std::string>> metadata() const = 0;
};

// What one micro-batch gives.
struct MicroBatchResult {
  at::Tensor loss;  // a scalar with a graph; mean over the micro-batch
  std::vector<std::pair<std::string, at::Tensor>>
      figures;                                // scalars for the log, without a graph; the same names every time
  std::int64_t images = 0;                    // that the model saw
  double data_wait = 0;                       // seconds until the batch was there
  std::uint64_t damaged = 0;                  // uses of damaged samples on this rank, from its start on
  std::function<std::string()> samples_text;  // which samples these are, for messages
};

// What is minimised, and on what.
class Objective {
 public:
  virtual ~Objective() = default;

  // Loading begins at this step; called once, before micro_batch().
  virtual void start(std::uint64_t step) = 0;
  // Forward pass of the next of this rank's micro-batches, in the order of steps and of their numbers.
  virtual MicroBatchResult micro_batch(std::uint64_t step, std::uint64_t own_index) = 0;
  // What losses of later steps depend on beside the model; checkpoints keep it. The same tensors, by name, every time,
  // equal on all ranks between steps; a resumed training writes into them before start().
  virtual NamedTensors memory() { return {}; }
  // A step ended; `is_taken`: its gradient was finite, and it changed the weights. Collective. Tensors of memory() may
  // change now, and at no other time.
  virtual void finish_step(bool /*is_taken*/) {}
  // Computes, each time it is called, the loss of this rank's first micro-batch of the training, with all terms that
  // the training comes to have: what the start-up probe times. Apart from start() and micro_batch(), which it does not
  // change. Call it before them. Throws as micro_batch().
  virtual std::function<at::Tensor()> rehearsal() const = 0;
  // The pictures of the last micro-batch as the model saw them, before they were normalised: [n, S, S, 3] uint8, CPU.
  virtual at::Tensor pictures() const = 0;
};

struct Validation {
  // Collective: what the moving average makes of the validation pictures, "validation/srcc" and so on, equal on every
  // rank. Does not change what training computes. Throws UsageError when there are no such pictures.
  std::function<std::vector<std::pair<std::string, double>>()> run;
  // The figure by which checkpoints are compared unless the configuration names another.
  std::string main_figure;
};

struct Task {
  std::string name;  // "align.student"
  TrainedModel& model;
  Objective& objective;
  Validation validation;
};

}  // namespace cskd::training
