// The learning rate as a function of the step.
#pragma once

#include <cstdint>

namespace cskd::optim {

struct Schedule {
  double peak = 0;
  double final_share = 0;  // of the peak, at the last step
  std::uint64_t warmup = 0;
  std::uint64_t steps = 0;
};

// Learning rate of step 0..steps-1: rises linearly over the warm-up, (step + 1) / warmup of the peak, then falls by
// half a cosine to final_share of it. Loshchilov and Hutter, arXiv 1608.03983, without restarts.
double learning_rate(const Schedule& schedule, std::uint64_t step);

// Decay of the moving average after `step`: min(decay, (1 + step) / (10 + step)), so that it forgets the random start.
double average_decay(double decay, std::uint64_t step);

}  // namespace cskd::optim
