#include "models/packable_linear.h"

#include <optional>
#include <string_view>

#include <ATen/TracerMode.h>
#include <ATen/autocast_mode.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/types.h>

#include "runtime/check.h"

namespace cskd::models {

using torch::Tensor;

namespace {

// Rows that the layout is chosen for. oneDNN takes it for any number; 256 was as fast as the true one, from 8 rows to
// 25,088.
constexpr std::int64_t kRows = 256;

// TorchInductor's operators (aten/src/ATen/native/mkldnn/Linear.cpp, MKLDNNConversions.cpp of PyTorch 2.11).
Tensor reorder(const Tensor& weight) {
  static const auto op = c10::Dispatcher::singleton()
                             .findSchemaOrThrow("mkldnn::_reorder_linear_weight", "")
                             .typed<Tensor(const Tensor&, std::optional<c10::SymInt>)>();
  return op.call(weight, c10::SymInt(kRows));
}

Tensor multiply(const Tensor& x, const Tensor& packed, const Tensor& bias, std::string_view activation,
                std::string_view algorithm) {
  using Signature = Tensor(const Tensor&, const Tensor&, const std::optional<Tensor>&, std::string_view,
                           c10::List<std::optional<at::Scalar>>, std::optional<std::string_view>);
  static const auto op =
      c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "").typed<Signature>();
  return op.call(x, packed, bias.defined() ? std::optional(bias) : std::nullopt, activation,
                 c10::List<std::optional<at::Scalar>>(), algorithm);
}

bool has_onednn() { return at::hasMKLDNN() && at::globalContext().userEnabledMkldnn(); }

}  // namespace

Tensor gelu(const Tensor& x, Gelu form) {
  switch (form) {
    case Gelu::kErf:
      return at::gelu(x);
    case Gelu::kTanh:
      return at::gelu(x, "tanh");
    case Gelu::kQuick:
      break;
  }
  if (!torch::GradMode::is_enabled()) return (1.702 * x).sigmoid_().mul_(x);  // the same, with less memory to walk
  return x * torch::sigmoid(1.702 * x);
}

Tensor packed_weight(const Tensor& weight) {
  if (!weight.is_cpu() || weight.scalar_type() != torch::kFloat || !has_onednn()) return {};
  const torch::NoGradGuard no_gradients;
  return reorder(weight.detach().contiguous());
}

bool packed_weights_serve(const Tensor& x) {
  return x.is_cpu() && x.scalar_type() == torch::kFloat && !(torch::GradMode::is_enabled() && x.requires_grad()) &&
         !at::autocast::is_autocast_enabled(at::kCPU) && !at::tracer::impl::is_dispatch_enabled();
}

bool PackedProduct::serves(const Tensor& x, bool is_training) const {
  if (!packed_.defined()) return false;
  CSKD_CHECK(!is_training, "an encoder whose layers were folded for inference cannot be trained");
  return packed_weights_serve(x);
}

Tensor PackedProduct::linear(const Tensor& x, const Tensor& weight, const Tensor& bias, bool is_training) const {
  return serves(x, is_training) ? multiply(x, packed_, bias, "none", "none") : torch::linear(x, weight, bias);
}

Tensor PackedProduct::linear_gelu(const Tensor& x, const Tensor& weight, const Tensor& bias, Gelu form,
                                  bool is_training) const {
  if (form != Gelu::kQuick && serves(x, is_training))
    return multiply(x, packed_, bias, "gelu", form == Gelu::kErf ? "none" : "tanh");
  Tensor hidden = linear(x, weight, bias, is_training);
  if (form == Gelu::kQuick || hidden.requires_grad()) return gelu(hidden, form);
  return at::gelu_(hidden, form == Gelu::kErf ? "none" : "tanh");
}

Tensor PackableLinear::forward(const Tensor& x, const Tensor& other_bias) const {
  return product_.linear(x, weight, other_bias, is_training());
}

Tensor PackableLinear::forward_gelu(const Tensor& x, Gelu form) const {
  return product_.linear_gelu(x, weight, bias, form, is_training());
}

void PackableLinear::fold() { product_ = PackedProduct(weight); }

}  // namespace cskd::models
