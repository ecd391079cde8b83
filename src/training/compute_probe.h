// A short measurement of which settings a model trains fastest with on this machine.
//
// Note [Start-up probe]
// Whether bfloat16 or channels-last tensors pay depends on the model, the processor and the batch: on processors
// without instructions for bfloat16 it is many times slower, on others twice as fast. So forward and backward of a
// micro-batch of noise are timed with each setting, on all ranks at once, since they share memory and cores; what
// counts is the slowest rank. The usual settings, fp32 and channels_last, are left only for a clear gain, so that noise
// does not choose.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <nlohmann/json.hpp>

#include "distributed/communicator.h"
#include "models/compute_settings.h"

namespace cskd::training {

struct ProbeOptions {
  std::string encoder;
  int image_size = 0;
  std::int64_t outputs = 1;    // of the head
  std::int64_t batch = 1;      // images of a micro-batch
  bool trains_encoder = true;  // or the head alone
  // Only these, where given.
  std::optional<models::Precision> precision;
  std::optional<models::MemoryFormat> memory_format;
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

// What a model costs on a device, in these settings.
struct ModelCost {
  double training_seconds = 0;  // forward and backward of a micro-batch; the best of some
  double forward_seconds = 0;   // forward alone
  std::int64_t parameters = 0;
  std::uint64_t activation_bytes = 0;  // that a micro-batch takes beside the model; 0 where it is not known
};
// Throws UsageError as make_encoder().
ModelCost measure_cost(const ProbeOptions& options, const models::ComputeSettings& settings, const at::Device& device);

// Collective; the same on every rank. Takes the time of a few micro-batches, and the memory of a second model. Throws
// UsageError as make_encoder().
ProbeResult probe_compute(const ProbeOptions& options, distributed::Communicator& communicator);

}  // namespace cskd::training
