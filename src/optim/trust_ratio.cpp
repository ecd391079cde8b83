#include "optim/trust_ratio.h"

#include <ATen/ATen.h>

namespace cskd::optim {

at::Tensor norms_of(at::TensorList tensors) { return at::stack(at::_foreach_norm(tensors)); }

std::vector<at::Tensor> ratios_of_nonzero(const at::Tensor& ratios, const at::Tensor& weight_norms,
                                          const at::Tensor& update_norms) {
  return at::where(weight_norms.gt(0).logical_and(update_norms.gt(0)), ratios, 1.0).unbind(0);
}

}  // namespace cskd::optim
