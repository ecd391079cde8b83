#include "report/goodput.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

namespace cskd::report {

std::string allocation_of_job() {
  const char* job = std::getenv("SLURM_JOB_ID");
  if (job == nullptr) return "";
  const char* restarts = std::getenv("SLURM_RESTART_COUNT");
  return std::string("slurm ") + job + "." + (restarts == nullptr ? "0" : restarts);
}

GoodputMeter::GoodputMeter(std::optional<Goodput> before, double silence, std::string allocation, double clock)
    : allocation_(std::move(allocation)), record_(std::move(before)), since_(clock) {
  is_counting_ = record_ && !record_->ended;
  if (!is_counting_) return;
  if (!allocation_.empty() && record_->allocation == allocation_) record_->held += std::max(0.0, silence);
  record_->allocation = allocation_;
}

void GoodputMeter::start(const std::string& stage, std::int64_t first_step, double clock) {
  if (record_ && record_->stage == stage && !record_->ended) {
    *record_ = *now(clock);
    ++record_->starts;
    record_->lost_steps += std::max<std::int64_t>(0, record_->step - first_step);
    record_->step = first_step;
    if (first_step == 0) record_->kept = 0;
  } else {
    record_ = Goodput{.stage = stage, .allocation = allocation_, .step = first_step};
  }
  since_ = clock;
  is_counting_ = true;
}

void GoodputMeter::step(std::int64_t step, double kept, double clock) {
  if (!record_) return;
  *record_ = *now(clock);
  since_ = clock;
  record_->step = step;
  record_->kept = kept;
}

void GoodputMeter::end(bool finished, double clock) {
  if (!record_ || !is_counting_) return;
  *record_ = *now(clock);
  record_->ended = finished;
  since_ = clock;
  is_counting_ = false;
}

std::optional<Goodput> GoodputMeter::now(double clock) const {
  std::optional<Goodput> result = record_;
  if (result && is_counting_) result->held += std::max(0.0, clock - since_);
  return result;
}

}  // namespace cskd::report
