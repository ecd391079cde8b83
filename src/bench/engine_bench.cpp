#include "bench/engine_bench.h"

#include <algorithm>
#include <chrono>
#include <memory>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "distributed/gradient_reducer.h"
#include "models/headed_encoder.h"
#include "optim/adamw.h"
#include "optim/weight_average.h"
#include "runtime/free_space.h"

namespace cskd::bench {
namespace {

using Clock = std::chrono::steady_clock;
using Json = nlohmann::ordered_json;

constexpr int kWarmUp = 3;  // steps and repeats that are not counted

double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

std::shared_ptr<models::HeadedEncoder> make_model(const StepOptions& options) {
  torch::manual_seed(1);
  constexpr int kOutputs = 192;
  auto model = std::make_shared<models::HeadedEncoder>(models::make_encoder(options.encoder, options.image_size),
                                                       models::kProjector, kOutputs);
  if (!options.channels_last) return model;
  for (torch::Tensor& parameter : model->parameters()) {
    if (parameter.dim() == 4) parameter.set_data(parameter.detach().contiguous(torch::MemoryFormat::ChannelsLast));
  }
  return model;
}

std::vector<torch::Tensor> tensors_of(models::HeadedEncoder& model) {
  std::vector<torch::Tensor> tensors;
  for (const auto& [name, tensor] : model.state()) tensors.push_back(tensor);
  return tensors;
}

const char* name_of(distributed::Reduction reduction) {
  return reduction == distributed::Reduction::kTreeSum ? "tree" : "sum";
}

}  // namespace

double AllReduceFigures::median() const { return median_of(seconds); }

double AllReduceFigures::bus_bandwidth(int ranks) const {
  return 2.0 * (ranks - 1) / ranks * 4.0 * static_cast<double>(numbers) / median();
}

double StepFigures::median() const { return median_of(seconds); }

std::vector<AllReduceFigures> run_all_reduce_bench(const AllReduceOptions& options,
                                                   distributed::Communicator& communicator) {
  std::vector<AllReduceFigures> all;
  for (const std::int64_t numbers : options.numbers) {
    const torch::Tensor tensor = torch::zeros({numbers}, torch::TensorOptions(communicator.device()));
    AllReduceFigures figures{.numbers = numbers, .seconds = {}};
    for (int repeat = 0; repeat < options.repeats + kWarmUp; ++repeat) {
      communicator.barrier();
      const auto start = Clock::now();
      communicator.all_reduce(tensor, options.reduction);
      if (repeat >= kWarmUp) figures.seconds.push_back(seconds_since(start));
    }
    const torch::Tensor slowest = torch::tensor(figures.seconds, torch::kDouble).to(communicator.device());
    communicator.all_reduce(slowest, distributed::Reduction::kMax);
    const torch::Tensor seconds = slowest.to(torch::kCPU);
    figures.seconds.assign(seconds.data_ptr<double>(), seconds.data_ptr<double>() + seconds.numel());
    all.push_back(std::move(figures));
  }
  return all;
}

StepFigures run_step_bench(const StepOptions& options, distributed::Communicator& communicator) {
  const torch::Device device = communicator.device();
  const auto model = make_model(options);
  const auto average = make_model(options);
  model->to(device);
  average->to(device);
  for (const auto& [name, tensor] : model->state()) communicator.broadcast(tensor.detach(), 0, name);
  distributed::GradientReducer reducer(
      model->trainable(), communicator,
      {.micro_batches = options.micro_batches, .elastic = options.elastic, .compress = options.compress});
  optim::AdamW optimiser(model->trainable(), {});
  optim::WeightAverage weights(tensors_of(*model), tensors_of(*average));
  torch::Tensor images = torch::randn({options.batch, 3, options.image_size, options.image_size}).to(device);
  if (options.channels_last) images = images.contiguous(torch::MemoryFormat::ChannelsLast);
  const torch::Tensor targets = torch::randn({options.batch, 192}).to(device);
  const double parts = static_cast<double>(options.micro_batches) * communicator.size();
  StepFigures figures{.images = options.batch * static_cast<std::int64_t>(options.micro_batches) * communicator.size()};
  for (int step = 0; step < options.steps + kWarmUp; ++step) {
    const auto start = Clock::now();
    reducer.start_step();
    for (std::uint64_t i = 0; i < options.micro_batches; ++i) {
      reducer.start_micro_batch();
      (torch::mse_loss(model->forward(images), targets) / parts).backward();
    }
    const double exposed = reducer.finish_step().exposed_seconds;
    const double norm = reducer.gradient_norm();
    if (norm > 3) reducer.scale(3 / norm);
    optimiser.step(1e-3);
    weights.update(0.99);
    if (step < kWarmUp) continue;
    figures.seconds.push_back(seconds_since(start));
    figures.exposed.push_back(exposed);
  }
  return figures;
}

std::string to_text(const AllReduceOptions& options, const std::vector<AllReduceFigures>& figures,
                    const distributed::Communicator& communicator) {
  std::string text =
      fmt::format("all-reduce ({}) of float32 on {} ranks, {}; medians of {}\n\n  {:>12} {:>10} {:>12} {:>12}\n",
                  name_of(options.reduction), communicator.size(), communicator.name(), options.repeats, "numbers",
                  "size", "ms", "bus GB/s");
  for (const AllReduceFigures& each : figures) {
    text += fmt::format("  {:>12} {:>10} {:>12.3f} {:>12.2f}\n", each.numbers,
                        runtime::format_bytes(4 * static_cast<std::uint64_t>(each.numbers)), 1000 * each.median(),
                        each.bus_bandwidth(communicator.size()) / 1e9);
  }
  text.pop_back();
  return text;
}

std::string to_json(const AllReduceOptions& options, const std::vector<AllReduceFigures>& figures,
                    const distributed::Communicator& communicator) {
  Json cases = Json::array();
  for (const AllReduceFigures& each : figures) {
    cases.push_back({{"numbers", each.numbers},
                     {"seconds", each.seconds},
                     {"median", each.median()},
                     {"bus_bytes_per_second", each.bus_bandwidth(communicator.size())}});
  }
  return Json{{"communicator", communicator.name()},
              {"ranks", communicator.size()},
              {"reduction", name_of(options.reduction)},
              {"cases", cases}}
      .dump(2);
}

std::string to_text(const StepOptions& options, const StepFigures& figures,
                    const distributed::Communicator& communicator) {
  const double step = figures.median();
  return fmt::format(
      "{} at {} pixels, {} images a step on {} ranks ({}), medians of {} steps\n\n"
      "  step                   {:>9.2f} ms\n  images/s               {:>9.1f}\n"
      "  exposed communication  {:>9.2f} ms ({:.1f} %)",
      options.encoder, options.image_size, figures.images, communicator.size(), communicator.name(), options.steps,
      1000 * step, static_cast<double>(figures.images) / step, 1000 * median_of(figures.exposed),
      100 * median_of(figures.exposed) / step);
}

std::string to_json(const StepOptions& options, const StepFigures& figures,
                    const distributed::Communicator& communicator) {
  return Json{{"communicator", communicator.name()},
              {"ranks", communicator.size()},
              {"encoder", options.encoder},
              {"image_size", options.image_size},
              {"batch", options.batch},
              {"micro_batches", options.micro_batches},
              {"elastic", options.elastic},
              {"compress", options.compress},
              {"channels_last", options.channels_last},
              {"seconds", figures.seconds},
              {"exposed_seconds", figures.exposed},
              {"median", figures.median()},
              {"images_per_second", static_cast<double>(figures.images) / figures.median()}}
      .dump(2);
}

}  // namespace cskd::bench
