// Going around an error of LibTorch: the gradient of a convolution of 1 x 1 with a stride and few input channels.
//
// Note [Strided kernels of 1 x 1]
// oneDNN (LibTorch 2.11, https://github.com/uxlfoundation/oneDNN/issues/6035) writes beyond its memory, or computes
// wrong numbers, for the gradient of such a kernel over images that lie channels last, as RepVGG-like stems have it.
// What the stride leaves out is therefore left out before: the same numbers by a convolution without a stride.
#pragma once

#include <ATen/core/Tensor.h>

namespace cskd::models {

// Whether a kernel [out, in / groups, h, w] with this stride (one number, or two) and padding is such a one.
bool has_unsafe_gradient(const at::Tensor& kernel, at::IntArrayRef stride, at::IntArrayRef padding);

// What such a kernel reads of images [N, C, H, W].
at::Tensor read_by_stride(const at::Tensor& images, at::IntArrayRef stride);

}  // namespace cskd::models
