#include "features/feature_queue.h"

#include <algorithm>
#include <utility>

#include <ATen/ATen.h>

#include "runtime/check.h"

namespace cskd::features {

FeatureQueue::FeatureQueue(std::int64_t length, std::int64_t width, distributed::Communicator& communicator)
    : communicator_(communicator),
      features_(at::zeros({length, width}, at::TensorOptions(at::kFloat).device(communicator.device()))),
      added_(at::zeros({1}, at::kLong)) {
  CSKD_CHECK(length > 0 && width > 0, "a queue of {} features of {} numbers", length, width);
}

std::int64_t FeatureQueue::added() const { return *added_.const_data_ptr<std::int64_t>(); }

at::Tensor FeatureQueue::features() const {
  const std::int64_t held = std::min(added(), features_.size(0));
  return held == 0 ? features_ : features_.narrow(0, 0, held);
}

void FeatureQueue::hold(const at::Tensor& features) { held_.push_back(features); }

void FeatureQueue::finish_step(bool is_taken) {
  const std::vector<at::Tensor> held = std::exchange(held_, {});
  if (is_taken) add(at::cat(communicator_.all_gather(at::cat(held), "features for the queue")));
}

void FeatureQueue::add(const at::Tensor& features) {
  const std::int64_t length = features_.size(0);
  const std::int64_t all = features.size(0);
  std::int64_t from = std::max<std::int64_t>(all - length, 0);
  while (from < all) {
    const std::int64_t at = (added() + from) % length;
    const std::int64_t count = std::min(all - from, length - at);
    features_.narrow(0, at, count).copy_(features.narrow(0, from, count));
    from += count;
  }
  added_ += all;
}

std::vector<std::pair<std::string, at::Tensor>> FeatureQueue::state() const {
  return {{"features", features_}, {"added", added_}};
}

}  // namespace cskd::features
