// The cost of a model by itself: time and memory of its micro-batches on noise, without data or a task's loss. For
// estimates (`cskd plan`) and `cskd bench`.
#pragma once

#include <cstdint>
#include <string>

#include <c10/core/Device.h>

#include "models/compute_settings.h"

namespace cskd::training {

// A model as a training has it.
struct ModelSubject {
  std::string encoder;
  int image_size = 0;
  std::int64_t outputs = 1;    // of the head
  std::int64_t batch = 1;      // images of a micro-batch
  bool trains_encoder = true;  // or the head alone
};

struct ModelCost {
  double training_seconds = 0;  // forward and backward of a micro-batch; the best of some
  double forward_seconds = 0;   // forward alone
  std::int64_t parameters = 0;
  std::uint64_t activation_bytes = 0;  // that a micro-batch takes beside the model; 0 where it is not known
};

// Makes such a model with random weights. Throws UsageError as make_encoder().
ModelCost measure_cost(const ModelSubject& subject, const models::ComputeSettings& settings, const at::Device& device);

// Only ModelCost::training_seconds.
double training_seconds(const ModelSubject& subject, const models::ComputeSettings& settings, const at::Device& device);

}  // namespace cskd::training
