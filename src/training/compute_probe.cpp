#include "training/compute_probe.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <memory>

#include <torch/torch.h>

#include "models/headed_encoder.h"
#include "runtime/check.h"

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

double seconds_of_a_micro_batch(models::HeadedEncoder& model, const torch::Tensor& images) {
  const auto start = Clock::now();
  model.forward(images).square().mean().backward();
  synchronise(images.device());
  return std::chrono::duration<double>(Clock::now() - start).count();
}

double measure(const ProbeOptions& options, const ComputeSettings& settings, const at::Device& device) {
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
  const torch::Tensor images =
      torch::randn({options.batch, side, side, 3}, torch::TensorOptions(device)).permute({0, 3, 1, 2});
  seconds_of_a_micro_batch(*model, images);
  const auto end = Clock::now() + kTime;
  double best = std::numeric_limits<double>::infinity();
  for (int run = 0; run < kMostRuns && (run == 0 || Clock::now() < end); ++run)
    best = std::min(best, seconds_of_a_micro_batch(*model, images));
  return best;
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
