// A short measurement of the settings that a training computes fastest with on this machine.
//
// Note [Start-up probe]
// Whether bfloat16 or channels-last tensors pay depends on the model, the processor and the batch: on processors
// without instructions for bfloat16 it is many times slower, on others twice as fast. So forward and backward of a
// micro-batch are timed with each setting, on all ranks at once, since they share memory and cores; what counts is the
// slowest rank. The usual settings, fp32 and channels_last, are left only for a clear gain, so that noise does not
// choose. What is timed:
//   * by a training, its own first micro-batch, with its models and its loss (training/task_probe.h);
//   * by `cskd bench` and `cskd plan`, which have no data, a model alone on noise (training/model_cost.h).
#pragma once

#include <functional>
#include <optional>
#include <vector>

#include <nlohmann/json.hpp>

#include "distributed/communicator.h"
#include "models/compute_settings.h"

namespace cskd::training {

// Settings that are not to be chosen, because the configuration says them.
struct GivenSettings {
  std::optional<models::Precision> precision;
  std::optional<models::MemoryFormat> memory_format;

  // Both, if there is nothing to choose.
  std::optional<models::ComputeSettings> all() const;
};

struct ProbeCase {
  models::ComputeSettings settings;
  double seconds = 0;  // of a micro-batch on the slowest rank; the best of some
};

struct ProbeResult {
  models::ComputeSettings chosen;
  std::vector<ProbeCase> cases;  // empty when there was no choice
};

// contiguous has to be at least so much faster than channels_last, and bf16 than fp32.
constexpr double kContiguousGain = 1.05;
constexpr double kBf16Gain = 1.1;

// REQUIRES: cases is not empty
models::ComputeSettings choose(const std::vector<ProbeCase>& cases);

// [{"precision", "memory_format", "seconds"}]
nlohmann::ordered_json to_json(const std::vector<ProbeCase>& cases);

// The least time of some runs within about a second, and until the device is done with each; after a first run, which
// allocates and compiles. Seconds.
double best_time(const std::function<void()>& run, const at::Device& device);

// `seconds`: how long this rank takes for a micro-batch with some settings. Collective; the same on every rank. Throws
// what `seconds` throws.
ProbeResult probe_compute(const GivenSettings& given,
                          const std::function<double(const models::ComputeSettings&)>& seconds,
                          distributed::Communicator& communicator);

}  // namespace cskd::training
