#include "models/families/swin.h"

#include <array>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <torch/nn/init.h>
#include <torch/types.h>

#include "models/families/position_table.h"
#include "models/families/swin_stages.h"

namespace cskd::models {
namespace {

using torch::Tensor;

constexpr const char* kTable = "relative_position_bias_table";

// Scaled dot products, and for every head a bias for each relative position of two tokens.
class BiasedAttention final : public WindowAttention {
 public:
  explicit BiasedAttention(const AttentionPlace& place) : windows_(place.windows), heads_(place.heads) {
    const std::int64_t span = 2 * windows_->side() - 1;
    table_ = register_parameter(kTable, torch::empty({span * span, heads_}));
    torch::nn::init::normal_(table_, 0.0, 0.02);
    qkv_ = register_module("qkv", swin_linear(place.width, 3 * place.width));
    out_ = register_module("proj", swin_linear(place.width, place.width));
  }

  Tensor forward(const Tensor& windows) override {
    const std::int64_t width = windows.size(2) / heads_;
    const std::vector<Tensor> qkv =
        qkv_->forward(windows).unflatten(2, {3, heads_, width}).permute({2, 0, 3, 1, 4}).unbind(0);
    const double scale = 1 / std::sqrt(static_cast<double>(width));
    return out_->forward(windows_->attend(qkv[0], qkv[1], qkv[2], windows_->bias_of(table_), scale));
  }

 private:
  std::shared_ptr<const ShiftedWindows> windows_;
  std::int64_t heads_;
  Tensor table_;
  std::shared_ptr<PackableLinear> qkv_;
  std::shared_ptr<PackableLinear> out_;
};

EncoderEntry swin_v1_entry(const std::string& name, int image_size, const SwinSize& size) {
  EncoderEntry made = swin_entry(name, image_size, size);
  made.parameters.embeddings = in_every_attention(size, {kTable});
  made.resample = [](const std::string& tensor, const Tensor& stored, at::IntArrayRef shape) {
    return tensor.ends_with(kTable) ? resampled_position_table(stored, shape) : Tensor();
  };
  made.make = [=](const EncoderShape& shape) {
    return make_swin(shape, size, {.has_norms_behind = false, .attention = [](const AttentionPlace& place) {
                                     return std::make_shared<BiasedAttention>(place);
                                   }});
  };
  return made;
}

}  // namespace

std::vector<EncoderEntry> swin_entries() {
  constexpr std::array<int, 4> kShallow{2, 2, 6, 2};
  constexpr std::array<int, 4> kDeep{2, 2, 18, 2};
  const SwinSize base{128, kDeep, {4, 8, 16, 32}, 7};
  const SwinSize large{192, kDeep, {6, 12, 24, 48}, 7};
  const auto with_window_12 = [](SwinSize size) {
    size.window = 12;
    return size;
  };
  return {
      swin_v1_entry("swin_tiny_patch4_window7_224", 224, {96, kShallow, {3, 6, 12, 24}, 7}),
      swin_v1_entry("swin_small_patch4_window7_224", 224, {96, kDeep, {3, 6, 12, 24}, 7}),
      swin_v1_entry("swin_base_patch4_window7_224", 224, base),
      swin_v1_entry("swin_base_patch4_window12_384", 384, with_window_12(base)),
      swin_v1_entry("swin_large_patch4_window7_224", 224, large),
      swin_v1_entry("swin_large_patch4_window12_384", 384, with_window_12(large)),
  };
}

}  // namespace cskd::models
