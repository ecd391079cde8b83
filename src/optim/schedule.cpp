#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace cskd::optim {

double learning_rate(const Schedule& schedule, std::uint64_t step) {
  if (step < schedule.warmup)
    return schedule.peak * static_cast<double>(step + 1) / static_cast<double>(schedule.warmup);
  const auto length =
      static_cast<double>(std::max<std::uint64_t>(1, schedule.steps - std::min(schedule.steps, schedule.warmup)));
  const double done = std::min(1.0, static_cast<double>(step - schedule.warmup) / length);
  const double share =
      schedule.final_share + (1 - schedule.final_share) * 0.5 * (1 + std::cos(std::numbers::pi * done));
  return schedule.peak * share;
}

double average_decay(double decay, std::uint64_t step) {
  const auto count = static_cast<double>(step);
  return std::min(decay, (1 + count) / (10 + count));
}

}  // namespace cskd::optim
