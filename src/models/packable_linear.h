// Linear layers whose weights are packed for inference.
#pragma once

#include <torch/nn/modules/linear.h>

#include "models/foldable.h"

namespace cskd::models {

enum class Gelu {
  kErf,
  kTanh,  // the approximation by tanh
  kQuick  // x sigmoid(1.702 x): OpenAI's checkpoints and some others. The wrong choice fails silently.
};
// The activation of Hendrycks and Gimpel (arXiv 1606.08415), of any shape.
torch::Tensor gelu(const torch::Tensor& x, Gelu form);

// Note [Packed products]
// Frozen weights are laid out once as oneDNN's kernels read them, where at::linear() hands them to a product that lays
// them out at each call, and a GELU behind the product is computed while its input is in the cache: a fifth of a vision
// transformer's time on a CPU with AVX-512 (docs/benchmarks.md). The packed weights lie beside the layer's own, which
// serve whatever this does not: other devices, autocast, gradients, and the recording of an export.

// [out, in] float32 on a CPU, packed; undefined where it is something else, or oneDNN is missing. What multiplies with
// it is the operator "mkldnn::_linear_pointwise".
torch::Tensor packed_weight(const torch::Tensor& weight);
// Whether packed weights serve for a product with x here and now.
bool packed_weights_serve(const torch::Tensor& x);

// x W^T, with packed weights where they serve, otherwise with the layer's own.
class PackedProduct {
 public:
  PackedProduct() = default;  // packs nothing

  // Packs nothing where packed_weight() is undefined.
  explicit PackedProduct(const torch::Tensor& weight) : packed_(packed_weight(weight)) {}

  // at::linear(x, weight, bias) of the layer, but for rounding: [..., in] to [..., out]; bias [out] or undefined.
  // Throws CheckFailure for a packed one in training mode.
  torch::Tensor linear(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias,
                       bool is_training) const;
  // gelu() of that.
  torch::Tensor linear_gelu(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias, Gelu form,
                            bool is_training) const;

 private:
  bool serves(const torch::Tensor& x, bool is_training) const;

  torch::Tensor packed_;
};

class PackableLinear final : public torch::nn::LinearImpl, public Foldable {
 public:
  using torch::nn::LinearImpl::LinearImpl;

  // [..., in] to [..., out]
  torch::Tensor forward(const torch::Tensor& x) const { return forward(x, bias); }
  // With another bias than its own: [out], or undefined.
  torch::Tensor forward(const torch::Tensor& x, const torch::Tensor& other_bias) const;
  // gelu(forward(x))
  torch::Tensor forward_gelu(const torch::Tensor& x, Gelu form) const;

  void fold() override;

 private:
  PackedProduct product_;
};

}  // namespace cskd::models
