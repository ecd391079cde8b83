#include "training/compute_probe.h"

#include <algorithm>
#include <chrono>
#include <limits>

#include <torch/cuda.h>
#include <torch/types.h>

#include "runtime/check.h"

namespace cskd::training {
namespace {

using Clock = std::chrono::steady_clock;
using models::ComputeSettings;
using models::MemoryFormat;
using models::Precision;

constexpr int kMostRuns = 5;
constexpr std::chrono::seconds kTime{1};

double time_of(const std::function<void()>& run, const at::Device& device) {
  const auto start = Clock::now();
  run();
  if (device.is_cuda()) torch::cuda::synchronize(device.index());
  return std::chrono::duration<double>(Clock::now() - start).count();
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

std::optional<ComputeSettings> GivenSettings::all() const {
  if (!precision || !memory_format) return std::nullopt;
  return ComputeSettings{*precision, *memory_format};
}

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

double best_time(const std::function<void()>& run, const at::Device& device) {
  time_of(run, device);
  const auto end = Clock::now() + kTime;
  double best = std::numeric_limits<double>::infinity();
  for (int i = 0; i < kMostRuns && (i == 0 || Clock::now() < end); ++i) best = std::min(best, time_of(run, device));
  return best;
}

ProbeResult probe_compute(const GivenSettings& given, const std::function<double(const ComputeSettings&)>& seconds,
                          distributed::Communicator& communicator) {
  if (const auto settings = given.all()) return {.chosen = *settings, .cases = {}};
  ProbeResult result;
  for (const Precision precision : {Precision::kFp32, Precision::kBf16}) {
    if (given.precision && *given.precision != precision) continue;
    for (const MemoryFormat format : {MemoryFormat::kChannelsLast, MemoryFormat::kContiguous}) {
      if (given.memory_format && *given.memory_format != format) continue;
      result.cases.push_back({{precision, format}, 0});
    }
  }
  for (ProbeCase& each : result.cases) {
    communicator.barrier();
    const double own = seconds(each.settings);
    const torch::Tensor slowest =
        torch::full({1}, own, torch::TensorOptions(communicator.device()).dtype(torch::kDouble));
    communicator.all_reduce(slowest, distributed::Reduction::kMax, "start-up probe");
    each.seconds = slowest.item<double>();
  }
  result.chosen = choose(result.cases);
  return result;
}

}  // namespace cskd::training
