#include "optim/schedule.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "runtime/check.h"

namespace cskd::optim {
namespace {

// Share of the peak at a step after the warm-up.
double cosine_share(const Schedule& schedule, std::uint64_t step) {
  const auto length =
      static_cast<double>(std::max<std::uint64_t>(1, schedule.steps - std::min(schedule.steps, schedule.warmup)));
  const double done = std::min(1.0, static_cast<double>(step - schedule.warmup) / length);
  return schedule.final_share + (1 - schedule.final_share) * 0.5 * (1 + std::cos(std::numbers::pi * done));
}

}  // namespace

double learning_rate(const Schedule& schedule, std::uint64_t step) {
  double rate = schedule.peak;
  if (step < schedule.warmup) {
    rate = schedule.peak * static_cast<double>(step + 1) / static_cast<double>(schedule.warmup);
  } else if (schedule.kind == Schedule::Kind::kCosine) {
    rate = schedule.peak * cosine_share(schedule, step);
  }
  if (schedule.kind == Schedule::Kind::kFalling) {
    for (const std::uint64_t fall : schedule.falls) {
      if (fall <= step) rate *= schedule.final_share;
    }
  }
  return rate;
}

double scaled_rate(double rate, RateScaling scaling, std::uint64_t global_batch, std::uint64_t reference_batch) {
  if (scaling == RateScaling::kNone) return rate;
  CSKD_CHECK(reference_batch > 0, "a rate for batches of 0 images");
  const double batches = static_cast<double>(global_batch) / static_cast<double>(reference_batch);
  return rate * (scaling == RateScaling::kLinear ? batches : std::sqrt(batches));
}

double average_decay(double decay, std::uint64_t step) {
  const auto count = static_cast<double>(step);
  return std::min(decay, (1 + count) / (10 + count));
}

}  // namespace cskd::optim
