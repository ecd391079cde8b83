// Rates of each tensor by its length, as LAMB and LARS have them.
#pragma once

#include <vector>

#include <ATen/core/Tensor.h>

namespace cskd::optim {

// [n], the L2 norms of n tensors.
at::Tensor norms_of(at::TensorList tensors);

// For each of n tensors a scalar: its ratio, or 1 where one of the norms is 0. All arguments are [n].
std::vector<at::Tensor> ratios_of_nonzero(const at::Tensor& ratios, const at::Tensor& weight_norms,
                                          const at::Tensor& update_norms);

}  // namespace cskd::optim
