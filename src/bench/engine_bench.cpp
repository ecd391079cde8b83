#include "bench/engine_bench.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>
#include <torch/utils.h>

#include "bench/stopwatch.h"
#include "distributed/gradient_reducer.h"
#include "models/headed_encoder.h"
#include "models/safetensors.h"
#include "optim/optimizer.h"
#include "optim/weight_average.h"
#include "runtime/free_space.h"
#include "training/model_cost.h"

namespace cskd::bench {
namespace {

using Json = nlohmann::ordered_json;

constexpr int kWarmUp = 3;  // steps and repeats that are not counted

double median_of(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  const std::size_t middle = values.size() / 2;
  return values.size() % 2 == 1 ? values[middle] : (values[middle - 1] + values[middle]) / 2;
}

constexpr std::int64_t kOutputs = 192;

std::shared_ptr<models::HeadedEncoder> make_model(const StepOptions& options, const models::ComputeSettings& settings,
                                                  const torch::Device& device) {
  torch::manual_seed(1);
  auto model = std::make_shared<models::HeadedEncoder>(models::make_encoder(options.encoder, options.image_size),
                                                       models::kProjector, kOutputs);
  if (!options.weights.empty()) model->load(models::read_safetensors(options.weights), options.weights, false);
  model->to(device);
  model->use(settings);
  return model;
}

struct Batch {
  torch::Tensor images;   // [n, 3, S, S]
  torch::Tensor targets;  // [n, kOutputs]
};

// Note [Made-up batches]
Batch make_batch(const StepOptions& options, const models::ComputeSettings& settings, std::uint64_t number,
                 const torch::Device& device) {
  torch::manual_seed(number);
  Batch batch{torch::randn({options.batch, 3, options.image_size, options.image_size}),
              torch::randn({options.batch, kOutputs})};
  if (settings.memory_format == models::MemoryFormat::kChannelsLast)
    batch.images = batch.images.contiguous(torch::MemoryFormat::ChannelsLast);
  return {batch.images.to(device), batch.targets.to(device)};
}

// Gradients without a reducer, kept from step to step.
class PlainGradients {
 public:
  explicit PlainGradients(std::vector<std::pair<std::string, torch::Tensor>> parameters)
      : parameters_(std::move(parameters)) {}
  void start_step() {
    for (auto& [name, parameter] : parameters_) {
      if (parameter.grad().defined()) parameter.mutable_grad().zero_();
    }
  }
  double norm() const {
    std::vector<torch::Tensor> gradients;
    for (const auto& [name, parameter] : parameters_) gradients.push_back(parameter.grad());
    return torch::stack(torch::_foreach_norm(gradients)).norm().item<double>();
  }
  void scale(double factor) {
    for (auto& [name, parameter] : parameters_) parameter.mutable_grad().mul_(factor);
  }

 private:
  std::vector<std::pair<std::string, torch::Tensor>> parameters_;
};

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
  return distributed::bus_bandwidth(4 * static_cast<std::uint64_t>(numbers), median(), ranks);
}

double StepFigures::median() const { return median_of(seconds); }

double StepFigures::overlap() const {
  return distributed::ReduceStatistics{.exposed_seconds = median_of(exposed),
                                       .communication_seconds = median_of(communication),
                                       .buckets = {},
                                       .unused = {}}
      .overlap();
}

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
  const auto ranks = static_cast<std::uint64_t>(communicator.size());
  const training::ModelSubject subject{
      .encoder = options.encoder, .image_size = options.image_size, .outputs = kOutputs, .batch = options.batch};
  const training::ProbeResult probe = training::probe_compute(
      {.precision = options.precision, .memory_format = options.memory_format},
      [&](const models::ComputeSettings& settings) { return training::training_seconds(subject, settings, device); },
      communicator);
  StepFigures figures{.settings = probe.chosen,
                      .probed = probe.cases,
                      .images = options.batch * static_cast<std::int64_t>(options.micro_batches * ranks)};
  const auto model = make_model(options, figures.settings, device);
  const auto average = make_model(options, figures.settings, device);
  for (const auto& [name, tensor] : model->state()) communicator.broadcast(tensor.detach(), 0, name);
  std::optional<distributed::GradientReducer> reducer;
  PlainGradients plain(model->trainable());
  if (!options.bare) {
    reducer.emplace(
        model->trainable(), communicator,
        distributed::ReducerOptions{
            .micro_batches = options.micro_batches, .elastic = options.elastic, .compress = options.compress});
  }
  const std::unique_ptr<optim::Optimizer> optimiser = optim::make_optimizer(model->trainable(), {});
  optim::WeightAverage weights(tensors_of(*model), tensors_of(*average));
  const std::uint64_t parts = options.micro_batches * ranks;
  for (int step = 0; step < options.steps + kWarmUp; ++step) {
    std::vector<Batch> batches;
    for (std::uint64_t i = 0; i < options.micro_batches; ++i) {
      const std::uint64_t number = static_cast<std::uint64_t>(step) * parts +
                                   static_cast<std::uint64_t>(communicator.rank()) * options.micro_batches + i;
      batches.push_back(make_batch(options, figures.settings, number, device));
    }
    communicator.barrier();
    const auto start = Clock::now();
    torch::Tensor sum_of_losses = torch::zeros({1}, torch::TensorOptions(device));
    reducer ? reducer->start_step() : plain.start_step();
    for (const Batch& batch : batches) {
      if (reducer) reducer->start_micro_batch();
      const torch::Tensor loss = torch::mse_loss(model->forward(batch.images), batch.targets);
      (loss / static_cast<double>(parts)).backward();
      sum_of_losses += loss.detach();
    }
    const distributed::ReduceStatistics reduced = reducer ? reducer->finish_step() : distributed::ReduceStatistics{};
    const double norm = reducer ? reducer->gradient_norm() : plain.norm();
    if (norm > 3) reducer ? reducer->scale(3 / norm) : plain.scale(3 / norm);
    optimiser->step(1e-3);
    weights.update(0.99);
    const double seconds = seconds_since(start);
    communicator.all_reduce(sum_of_losses, distributed::Reduction::kSum);
    figures.losses.push_back(sum_of_losses.item<double>() / static_cast<double>(parts));
    if (step < kWarmUp) continue;
    figures.seconds.push_back(seconds);
    figures.exposed.push_back(reduced.exposed_seconds);
    figures.communication.push_back(reduced.communication_seconds);
    figures.buckets.resize(reduced.buckets.size());
    for (std::size_t i = 0; i < reduced.buckets.size(); ++i) {
      figures.buckets[i].label = reduced.buckets[i].label;
      figures.buckets[i].bytes = reduced.buckets[i].bytes;
      figures.buckets[i].bus_bandwidth.push_back(reduced.buckets[i].bus_bandwidth(communicator.size()));
    }
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
  std::string text;
  for (const training::ProbeCase& each : figures.probed) {
    text += fmt::format("  {:<22} {:>9.2f} ms for a micro-batch{}\n", models::to_text(each.settings),
                        1000 * each.seconds, each.settings == figures.settings ? ", chosen" : "");
  }
  if (!text.empty()) text = "start-up probe\n\n" + text + "\n";
  text += fmt::format(
      "{} at {} pixels, {}, {} images a step on {} ranks ({}), medians of {} steps\n\n"
      "  step                   {:>9.2f} ms\n  images/s               {:>9.1f}\n"
      "  communication          {:>9.2f} ms, {:.0f} % of it overlapped with backward\n"
      "  exposed communication  {:>9.2f} ms ({:.1f} % of the step)",
      options.encoder, options.image_size, models::to_text(figures.settings), figures.images, communicator.size(),
      communicator.name(), options.steps, 1000 * step, static_cast<double>(figures.images) / step,
      1000 * median_of(figures.communication), 100 * figures.overlap(), 1000 * median_of(figures.exposed),
      100 * median_of(figures.exposed) / step);
  if (communicator.size() == 1 || figures.buckets.empty()) return text;
  text += fmt::format("\n\n  {:>10} {:>9}  bucket", "size", "bus GB/s");
  for (const StepFigures::Bucket& bucket : figures.buckets) {
    text += fmt::format("\n  {:>10} {:>9.2f}  {}", runtime::format_bytes(bucket.bytes),
                        median_of(bucket.bus_bandwidth) / 1e9, bucket.label);
  }
  return text;
}

std::string to_json(const StepOptions& options, const StepFigures& figures,
                    const distributed::Communicator& communicator) {
  Json buckets = Json::array();
  for (const StepFigures::Bucket& bucket : figures.buckets) {
    buckets.push_back(
        {{"label", bucket.label}, {"bytes", bucket.bytes}, {"bus_bytes_per_second", median_of(bucket.bus_bandwidth)}});
  }
  return Json{{"communicator", communicator.name()},
              {"ranks", communicator.size()},
              {"encoder", options.encoder},
              {"image_size", options.image_size},
              {"batch", options.batch},
              {"micro_batches", options.micro_batches},
              {"elastic", options.elastic},
              {"compress", options.compress},
              {"bare", options.bare},
              {"precision", models::name_of(figures.settings.precision)},
              {"memory_format", models::name_of(figures.settings.memory_format)},
              {"probe", training::to_json(figures.probed)},
              {"seconds", figures.seconds},
              {"exposed_seconds", figures.exposed},
              {"communication_seconds", figures.communication},
              {"losses", figures.losses},
              {"buckets", buckets},
              {"median", figures.median()},
              {"overlap", figures.overlap()},
              {"images_per_second", static_cast<double>(figures.images) / figures.median()}}
      .dump(2);
}

}  // namespace cskd::bench
