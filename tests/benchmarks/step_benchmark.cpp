// Times training steps (forward, backward with gradient all-reduce, clip, AdamW, moving average) or all-reduces alone,
// under mpirun. Prints one JSON line on rank 0; side_by_side.py runs it beside PyTorch's.
//   step_benchmark step ENCODER IMAGE_SIZE BATCH STEPS
//   step_benchmark all-reduce NUMBERS REPEATS
// With CSKD_RETURN_FREED_MEMORY set it does without runtime::keep_freed_memory(), to show what that gains.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <torch/torch.h>

#include "distributed/communicator.h"
#include "distributed/gradient_reducer.h"
#include "models/headed_encoder.h"
#include "optim/adamw.h"
#include "optim/weight_average.h"
#include "runtime/freed_memory.h"
#include "runtime/world.h"

namespace {

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

std::shared_ptr<cskd::models::HeadedEncoder> make_model(const std::string& encoder, int image_size) {
  torch::manual_seed(1);
  auto model =
      std::make_shared<cskd::models::HeadedEncoder>(cskd::models::make_encoder(encoder, image_size), "projector", 192);
  for (torch::Tensor& parameter : model->parameters()) {
    if (parameter.dim() == 4) parameter.set_data(parameter.detach().contiguous(torch::MemoryFormat::ChannelsLast));
  }
  return model;
}

std::vector<torch::Tensor> tensors_of(cskd::models::HeadedEncoder& model) {
  std::vector<torch::Tensor> tensors;
  for (const auto& [name, tensor] : model.state()) tensors.push_back(tensor);
  return tensors;
}

std::vector<double> time_steps(cskd::distributed::Communicator& communicator, char** arguments) {
  const int image_size = std::atoi(arguments[1]);
  const auto model = make_model(arguments[0], image_size);
  const auto average = make_model(arguments[0], image_size);
  for (const auto& [name, tensor] : model->state()) communicator.broadcast(tensor.detach(), 0);
  cskd::distributed::GradientReducer reducer(model->trainable(), communicator);
  cskd::optim::AdamW optimiser(model->trainable(), {});
  cskd::optim::WeightAverage weights(tensors_of(*model), tensors_of(*average));
  const torch::Tensor images =
      torch::randn({std::atoi(arguments[2]), 3, image_size, image_size}).contiguous(torch::MemoryFormat::ChannelsLast);
  const torch::Tensor targets = torch::randn({std::atoi(arguments[2]), 192});
  std::vector<double> seconds;
  for (int step = 0; step < std::atoi(arguments[3]) + 3; ++step) {
    const auto start = Clock::now();
    reducer.start_step();
    reducer.start_micro_batch();
    const torch::Tensor loss = torch::mse_loss(model->forward(images), targets) / communicator.size();
    loss.backward();
    reducer.finish_step();
    const double norm = reducer.gradient_norm();
    if (norm > 3) reducer.scale(3 / norm);
    optimiser.step(1e-3);
    weights.update(0.99);
    if (step >= 3) seconds.push_back(seconds_since(start));
  }
  return seconds;
}

std::vector<double> time_all_reduce(cskd::distributed::Communicator& communicator, char** arguments) {
  const torch::Tensor tensor = torch::ones({std::atol(arguments[0])});
  std::vector<double> seconds;
  for (int repeat = 0; repeat < std::atoi(arguments[1]) + 3; ++repeat) {
    communicator.barrier();
    const auto start = Clock::now();
    communicator.all_reduce(tensor, cskd::distributed::Reduction::kMean);
    if (repeat >= 3) seconds.push_back(seconds_since(start));
  }
  return seconds;
}

}  // namespace

int main(int argc, char** argv) {
  if (std::getenv("CSKD_RETURN_FREED_MEMORY") == nullptr) cskd::runtime::keep_freed_memory();
  cskd::runtime::World world(&argc, &argv);
  torch::set_num_threads(1);
  const auto communicator = cskd::distributed::make_communicator(world, std::chrono::minutes(2));
  const std::string what = argc > 1 ? argv[1] : "";
  std::vector<double> seconds;
  if (what == "step" && argc == 6) seconds = time_steps(*communicator, argv + 2);
  if (what == "all-reduce" && argc == 4) seconds = time_all_reduce(*communicator, argv + 2);
  if (seconds.empty()) return 2;
  if (world.rank() == 0) fmt::print("{{\"seconds\": [{}]}}\n", fmt::join(seconds, ", "));
  return 0;
}
