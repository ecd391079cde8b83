// The learning rate as a function of the step and of the batch.
#pragma once

#include <cstdint>
#include <vector>

namespace cskd::optim {

struct Schedule {
  enum class Kind {
    kCosine,    // falls by half a cosine to final_share of the peak. Loshchilov and Hutter, arXiv 1608.03983
    kConstant,  // stays at the peak
    kFalling,   // is multiplied by final_share after each of the steps in falls
  };

  double peak = 0;
  double final_share = 0;
  std::uint64_t warmup = 0;
  std::uint64_t steps = 0;
  Kind kind = Kind::kCosine;
  std::vector<std::uint64_t> falls;  // numbers of steps, in any order; those within the warm-up count too
};

// Learning rate of step 0..steps-1: rises linearly over the warm-up, (step + 1) / warmup of the peak, then goes on as
// its kind says. The cosine would reach final_share at `steps`; step n is the first after a fall at n.
double learning_rate(const Schedule& schedule, std::uint64_t step);

// How a learning rate follows from the global batch.
enum class RateScaling {
  kNone,
  kLinear,      // as the batch: Goyal et al., arXiv 1706.02677
  kSquareRoot,  // as its root: Malladi et al., arXiv 2205.10287, for Adam
};

// `rate`, which is meant for batches of reference_batch images, for those of global_batch images.
double scaled_rate(double rate, RateScaling scaling, std::uint64_t global_batch, std::uint64_t reference_batch);

// Decay of the moving average after `step`: min(decay, (1 + step) / (10 + step)), so that it forgets the random start.
double average_decay(double decay, std::uint64_t step);

}  // namespace cskd::optim
