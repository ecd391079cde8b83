#include "models/families/constant.h"

#include <c10/core/InferenceMode.h>

namespace cskd::models {

const torch::Tensor& Constant::on(const torch::Device& device, torch::Dtype type) const {
  if (!made_.defined() || made_.device() != device || made_.scalar_type() != type) {
    // A tensor that inference made could not be used in training.
    const c10::InferenceMode no_inference(false);
    made_ = make_().to(device, type);
  }
  return made_;
}

}  // namespace cskd::models
