#include "training/compute_probe.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>

#include <torch/torch.h>

#include "models/headed_encoder.h"
#include "runtime/check.h"
#include "runtime/process_memory.h"

namespace cskd::training {
namespace {

using Clock = std::chrono::steady_clock;
using models::ComputeSettings;
using models::MemoryFormat;
using models::Precision;

// Of one case, beside the first run, which allocates and compiles.
constexpr int kMostRuns = 5;
constexpr std::chrono::seconds kTime{1};

void synchronise(const at::Device& device) {
  if (device.is_cuda()) torch::cuda::synchronize(device.index());
}

// Of a micro-batch forward, and backward where asked.
double seconds_of_a_micro_batch(models::HeadedEncoder& model, const torch::Tensor& images, bool backward) {
  const at::AutoGradMode gradients(backward);
  const auto start = Clock::now();
  const torch::Tensor loss = model.forward(images).square().mean();
  if (backward) loss.backward();
  synchronise(images.device());
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// The first run allocates and compiles.
double best_of_some(models::HeadedEncoder& model, const torch::Tensor& images, bool backward) {
  const auto end = Clock::now() + kTime;
  double best = std::numeric_limits<double>::infinity();
  for (int run = 0; run < kMostRuns && (run == 0 || Clock::now() < end); ++run)
    best = std::min(best, seconds_of_a_micro_batch(model, images, backward));
  return best;
}

struct Subject {
  std::shared_ptr<models::HeadedEncoder> model;
  torch::Tensor images;
};

Subject make_subject(const ProbeOptions& options, const ComputeSettings& settings, const at::Device& device) {
  const auto model = std::make_shared<models::HeadedEncoder>(models::make_encoder(options.encoder, options.image_size),
                                                             models::kProjector, options.outputs);
  model->to(device);
  model->use(settings);
  model->train();
  if (!options.trains_encoder) {
    model->encoder().eval();
    for (torch::Tensor& parameter : model->encoder().parameters()) parameter.requires_grad_(false);
  }
  const int side = model->shape().image_size;
  // As normalise() gives them.
  return {model, torch::randn({options.batch, side, side, 3}, torch::TensorOptions(device)).permute({0, 3, 1, 2})};
}

double measure(const ProbeOptions& options, const ComputeSettings& settings, const at::Device& device) {
  const Subject subject = make_subject(options, settings, device);
  seconds_of_a_micro_batch(*subject.model, subject.images, true);
  return best_of_some(*subject.model, subject.images, true);
}

// The memory format's case of this precision that is to be used; nullptr when there is none.
const ProbeCase* best_of(const std::vector<ProbeCase>& cases, Precision precision) {
  const ProbeCase* best = nullptr;
  for (const MemoryFormat format : {MemoryFormat::kChannelsLast, MemoryFormat::kContiguous}) {
    for (const ProbeCase& each : cases) {
      if (each.settings != ComputeSettings{precision, format}) continue;
      if (best == nullptr || each.seconds * kContiguousGain <= best->seconds) best = &each;
    }
  }
  return best;
}

}  // namespace

ComputeSettings choose(const std::vector<ProbeCase>& cases) {
  const ProbeCase* const fp32 = best_of(cases, Precision::kFp32);
  const ProbeCase* const bf16 = best_of(cases, Precision::kBf16);
  CSKD_CHECK(fp32 != nullptr || bf16 != nullptr, "nothing to choose from");
  if (fp32 == nullptr) return bf16->settings;
  return bf16 != nullptr && bf16->seconds * kBf16Gain <= fp32->seconds ? bf16->settings : fp32->settings;
}

nlohmann::ordered_json to_json(const std::vector<ProbeCase>& cases) {
  nlohmann::ordered_json list = nlohmann::ordered_json::array();
  for (const ProbeCase& each : cases) {
    list.push_back({{"precision", models::name_of(each.settings.precision)},
                    {"memory_format", models::name_of(each.settings.memory_format)},
                    {"seconds", each.seconds}});
  }
  return list;
}

ModelCost measure_cost(const ProbeOptions& options, const ComputeSettings& settings, const at::Device& device) {
  const Subject subject = make_subject(options, settings, device);
  ModelCost cost;
  for (const auto& [name, tensor] : subject.model->state()) cost.parameters += tensor.numel();
  const std::uint64_t before = runtime::reset_peak_memory();
  seconds_of_a_micro_batch(*subject.model, subject.images, true);
  // Gradients are counted with the model's state.
  const auto gradients = static_cast<std::uint64_t>(options.trains_encoder ? 4 * cost.parameters : 0);
  const std::uint64_t peak = runtime::peak_memory();
  if (device.is_cpu() && before > 0 && peak > before + gradients) cost.activation_bytes = peak - before - gradients;
  cost.training_seconds = best_of_some(*subject.model, subject.images, true);
  cost.forward_seconds = best_of_some(*subject.model, subject.images, false);
  return cost;
}

ProbeResult probe_compute(const ProbeOptions& options, distributed::Communicator& communicator) {
  ProbeResult result;
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    if (options.precision && *options.precision != precision) continue;
    for (const MemoryFormat format : {MemoryFormat::kChannelsLast, MemoryFormat::kContiguous}) {
      if (options.memory_format && *options.memory_format != format) continue;
      result.cases.push_back({{precision, format}, 0});
    }
  }
  if (result.cases.size() == 1) {
    result.chosen = result.cases.front().settings;
    result.cases.clear();
    return result;
  }
  for (ProbeCase& each : result.cases) {
    communicator.barrier();
    const double own = measure(options, each.settings, communicator.device());
    const torch::Tensor slowest =
        torch::full({1}, own, torch::TensorOptions(communicator.device()).dtype(torch::kDouble));
    communicator.all_reduce(slowest, distributed::Reduction::kMax, "start-up probe");
    each.seconds = slowest.item<double>();
  }
  result.chosen = choose(result.cases);
  return result;
}

}  // namespace cskd::training
