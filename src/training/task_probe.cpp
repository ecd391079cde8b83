#include "training/task_probe.h"

#include <functional>
#include <mutex>
#include <utility>
#include <vector>

#include <torch/types.h>
#include <torch/utils.h>

namespace cskd::training {
namespace {

// What a micro-batch changes, or its settings do, put back by restore().
class TaskState {
 public:
  TaskState(TrainedModel& model, const at::Device& device) : model_(model) {
    for (const NamedTensors& tensors : {model.state(), model.average()}) {
      for (const auto& [name, tensor] : tensors) memory_.emplace_back(tensor, tensor.detach());
    }
    for (const auto& [name, tensor] : model.statistics()) statistics_.emplace_back(tensor, tensor.detach().clone());
    for (const at::Device& each : {at::Device(at::kCPU), device}) {
      at::Generator generator = at::globalContext().defaultGenerator(each);
      const std::lock_guard lock(generator.mutex());
      random_.emplace_back(generator, generator.get_state());
    }
  }

  void restore() {
    const torch::NoGradGuard no_gradients;
    drop_gradients();
    for (auto& [tensor, before] : memory_) tensor.set_data(before);
    for (auto& [tensor, before] : statistics_) tensor.copy_(before);
    for (auto& [generator, before] : random_) {
      const std::lock_guard lock(generator.mutex());
      generator.set_state(before);
    }
  }

  void drop_gradients() {
    for (auto& [name, parameter] : model_.trainable()) parameter.mutable_grad() = at::Tensor();
  }

 private:
  TrainedModel& model_;
  std::vector<std::pair<at::Tensor, at::Tensor>> memory_, statistics_;
  std::vector<std::pair<at::Generator, at::Tensor>> random_;
};

}  // namespace

ProbeResult probe_task(const Task& task, const GivenSettings& given, distributed::Communicator& communicator) {
  if (const auto settings = given.all()) return {.chosen = *settings, .cases = {}};
  const at::Device device = communicator.device();
  TaskState state(task.model, device);
  const std::function<at::Tensor()> loss = task.objective.rehearsal();
  const auto micro_batch = [&] {
    // As in a step, whose gradients move into buckets.
    state.drop_gradients();
    loss().backward();
  };
  const auto seconds = [&](const models::ComputeSettings& settings) {
    task.model.use(settings);
    return best_time(micro_batch, device);
  };
  ProbeResult result = probe_compute(given, seconds, communicator);
  state.restore();
  return result;
}

}  // namespace cskd::training
