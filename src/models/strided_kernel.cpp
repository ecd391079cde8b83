#include "models/strided_kernel.h"

#include <algorithm>

#include <ATen/ATen.h>

namespace cskd::models {

bool has_unsafe_gradient(const at::Tensor& kernel, at::IntArrayRef stride, at::IntArrayRef padding) {
  constexpr std::int64_t kFewChannels = 16;  // fewer than oneDNN takes at once
  return kernel.dim() == 4 && kernel.size(2) == 1 && kernel.size(3) == 1 && kernel.size(1) < kFewChannels &&
         std::ranges::any_of(stride, [](std::int64_t step) { return step > 1; }) &&
         std::ranges::all_of(padding, [](std::int64_t rows) { return rows == 0; });
}

at::Tensor read_by_stride(const at::Tensor& images, at::IntArrayRef stride) {
  return images.slice(2, 0, std::nullopt, stride.front()).slice(3, 0, std::nullopt, stride.back());
}

}  // namespace cskd::models
