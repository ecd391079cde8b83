#include "optim/weight_average.h"

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>

#include "runtime/check.h"

namespace cskd::optim {

WeightAverage::WeightAverage(std::vector<at::Tensor> model, std::vector<at::Tensor> average) {
  CSKD_CHECK(model.size() == average.size(), "{} tensors and {} averages", model.size(), average.size());
  for (size_t i = 0; i < model.size(); ++i) {
    const bool averaged = model[i].is_floating_point();
    (averaged ? model_ : copied_model_).push_back(model[i].detach());
    (averaged ? average_ : copied_average_).push_back(average[i].detach());
  }
  reset();
}

void WeightAverage::update(double decay) {
  const c10::AutoGradMode no_gradients(false);
  at::_foreach_lerp_(average_, model_, 1 - decay);
  for (size_t i = 0; i < copied_model_.size(); ++i) copied_average_[i].copy_(copied_model_[i]);
}

void WeightAverage::reset() {
  const c10::AutoGradMode no_gradients(false);
  for (size_t i = 0; i < model_.size(); ++i) average_[i].copy_(model_[i]);
  for (size_t i = 0; i < copied_model_.size(); ++i) copied_average_[i].copy_(copied_model_[i]);
}

}  // namespace cskd::optim
