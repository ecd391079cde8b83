// The latest features that a training saw, of all ranks and the same on each: other pictures to compare with.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>

#include "distributed/communicator.h"

namespace cskd::features {

class FeatureQueue {
 public:
  // Of the latest `length` features of `width` numbers; the communicator must outlive it. REQUIRES: both above 0
  FeatureQueue(std::int64_t length, std::int64_t width, distributed::Communicator& communicator);

  // [k, width] float32, the k that it holds, in no order that means anything. `length` zeros while it holds none: they
  // are equally far from everything.
  at::Tensor features() const;

  // Features [n, width] of this rank's next micro-batch of the step, the same number in each.
  void hold(const at::Tensor& features);
  // Takes what all ranks held in the step, in the order of its micro-batches, in place of those that are in it longest;
  // or forgets it. Collective.
  void finish_step(bool is_taken);

  // Its tensors, which may be written to in place: {"features" [length, width], "added" [1] int64 on the CPU}.
  std::vector<std::pair<std::string, at::Tensor>> state() const;

 private:
  std::int64_t added() const;
  void add(const at::Tensor& features);

  distributed::Communicator& communicator_;
  std::vector<at::Tensor> held_;
  at::Tensor features_;  // a ring; feature number i at i modulo its length
  at::Tensor added_;     // so far, all together
};

}  // namespace cskd::features
