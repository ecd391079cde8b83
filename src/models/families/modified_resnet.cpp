#include "models/families/modified_resnet.h"

#include <array>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <torch/nn/init.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/types.h>

#include "models/convolution.h"
#include "models/families/transformer/position_embedding.h"
#include "models/packable_linear.h"
#include "runtime/check.h"

namespace cskd::models {
namespace {

using torch::Tensor;

struct ModifiedResNetSize {
  std::array<int, 4> blocks{};  // of each stage
  int width = 0;                // of the first stage's 3 x 3 convolutions
  int feature_width = 0;        // of the pooled features

  int map_width() const { return 32 * width; }
  int heads() const { return map_width() / 64; }
};

constexpr int kModifiedResNetStride = 32;

// With PyTorch's own initial weights, as open_clip leaves them.
std::shared_ptr<NormedConvolution> convolve(torch::nn::Module& parent, const std::string& name, const std::string& norm,
                                            const ConvolutionSize& size) {
  const auto layer = normed_convolution(parent, name, norm, size);
  layer->reset_parameters();
  return layer;
}

class ModifiedResNetBlock final : public torch::nn::Module {
 public:
  ModifiedResNetBlock(int in, int width, int stride) : stride_(stride) {
    const int out = 4 * width;
    convolution1_ = convolve(*this, "conv1", "bn1", {.in = in, .out = width});
    convolution2_ = convolve(*this, "conv2", "bn2", {.in = width, .out = width, .kernel = 3});
    convolution3_ = convolve(*this, "conv3", "bn3", {.in = width, .out = out});
    torch::nn::init::zeros_(convolution3_->norm()->weight);
    if (stride != 1 || in != out) {
      const auto shortcut = register_module("downsample", std::make_shared<torch::nn::Module>("Shortcut"));
      shortcut_ = convolve(*shortcut, "0", "1", {.in = in, .out = out});
    }
  }

  // drop_probability: of the branch, as of drop_path().
  Tensor forward(const Tensor& input, double drop_probability) {
    Tensor x = convolution1_->forward(input);
    x = convolution2_->forward(torch::relu_(x));
    x = convolution3_->forward(pooled(torch::relu_(x)));
    x = drop_path(x, drop_probability, is_training());
    return torch::relu_(x.add_(shortcut_ ? shortcut_->forward(pooled(input)) : input));
  }

 private:
  Tensor pooled(const Tensor& x) const { return stride_ == 1 ? x : torch::avg_pool2d(x, stride_); }

  int stride_;
  std::shared_ptr<NormedConvolution> convolution1_;
  std::shared_ptr<NormedConvolution> convolution2_;
  std::shared_ptr<NormedConvolution> convolution3_;
  std::shared_ptr<NormedConvolution> shortcut_;
};

class AttentionPool final : public torch::nn::Module {
 public:
  AttentionPool(const ModifiedResNetSize& size, int grid) : heads_(size.heads()) {
    const int width = size.map_width();
    const double scale = 1 / std::sqrt(width);
    positions_ = register_parameter("positional_embedding", scale * torch::randn({grid * grid + 1, width}));
    const auto add = [&](const char* name, int out) {
      const auto layer = register_module(name, std::make_shared<PackableLinear>(width, out));
      torch::nn::init::normal_(layer->weight, 0.0, scale);
      return layer;
    };
    keys_ = add("k_proj", width);
    queries_ = add("q_proj", width);
    values_ = add("v_proj", width);
    out_ = add("c_proj", size.feature_width);
  }

  // x: [N, C, H, W]
  Tensor forward(const Tensor& x) {
    const Tensor places = x.flatten(2).transpose(1, 2);
    const Tensor all = torch::cat({places.mean(1, /*keepdim=*/true), places}, 1) + positions_;
    const Tensor query = in_heads(queries_->forward(all.slice(1, 0, 1)));
    const Tensor keys = in_heads(keys_->forward(all));
    const Tensor values = in_heads(values_->forward(all));
    return out_->forward(at::scaled_dot_product_attention(query, keys, values).flatten(1));
  }

 private:
  // [N, L, C] to [N, heads, L, d]
  Tensor in_heads(const Tensor& x) const { return x.unflatten(2, {heads_, x.size(2) / heads_}).transpose(1, 2); }

  int heads_;
  Tensor positions_;
  std::shared_ptr<PackableLinear> keys_;
  std::shared_ptr<PackableLinear> queries_;
  std::shared_ptr<PackableLinear> values_;
  std::shared_ptr<PackableLinear> out_;
};

class ModifiedResNet final : public Encoder {
 public:
  ModifiedResNet(const EncoderShape& shape, const ModifiedResNetSize& size) : Encoder(shape) {
    CSKD_CHECK(shape.grid * kModifiedResNetStride == shape.image_size, "{}: a grid of {} for an image of {}",
               shape.name, shape.grid, shape.image_size);
    const int half = size.width / 2;
    stem_.push_back(convolve(*this, "conv1", "bn1", {.in = 3, .out = half, .kernel = 3, .stride = 2}));
    stem_.push_back(convolve(*this, "conv2", "bn2", {.in = half, .out = half, .kernel = 3}));
    stem_.push_back(convolve(*this, "conv3", "bn3", {.in = half, .out = size.width, .kernel = 3}));
    int in = size.width;
    for (std::size_t stage = 0; stage < size.blocks.size(); ++stage) {
      const int width = size.width << stage;
      torch::nn::ModuleList blocks = register_module("layer" + std::to_string(stage + 1), torch::nn::ModuleList());
      for (int i = 0; i < size.blocks[stage]; ++i) {
        blocks_.push_back(std::make_shared<ModifiedResNetBlock>(in, width, i == 0 && stage > 0 ? 2 : 1));
        blocks->push_back(blocks_.back());
        in = 4 * width;
      }
    }
    pool_ = register_module("attnpool", std::make_shared<AttentionPool>(size, shape.grid));
  }

  Features forward(const Tensor& images, const Request& request) override {
    require(images, request);
    Tensor x = images;
    for (const auto& convolution : stem_) {
      x = convolution->forward(x);
      torch::relu_(x);
    }
    x = torch::avg_pool2d(x, 2);
    for (std::size_t i = 0; i < blocks_.size(); ++i) x = blocks_[i]->forward(x, drop_path_of(i, blocks_.size()));
    return {.pooled = pool_->forward(x),
            .tokens = request.tokens ? x.flatten(2).transpose(1, 2) : Tensor(),
            .attention = {}};
  }

 private:
  std::vector<std::shared_ptr<NormedConvolution>> stem_;
  std::vector<std::shared_ptr<ModifiedResNetBlock>> blocks_;
  std::shared_ptr<AttentionPool> pool_;
};

EncoderEntry modified_resnet_entry(const char* name, int image_size, const ModifiedResNetSize& size) {
  return {.name = name,
          .image_size = image_size,
          .normalisation = kClipNormalisation,
          .stride = kModifiedResNetStride,
          .pooled_width = size.feature_width,
          .token_width = size.map_width(),
          // Its positions lie in the pooling, behind all blocks, and decay in open_clip.
          .parameters = {.stem = R"((conv[123]|bn[123])\..*)",
                         .block = R"(layer(\d+)\.(\d+)\..*)",
                         .last_norm = "",
                         .embeddings = {}},
          .normalises_batches = true,
          .home = "open_clip",
          .resample = [](const std::string& tensor, const Tensor& stored, at::IntArrayRef shape) -> Tensor {
            if (tensor != "attnpool.positional_embedding") return {};
            return transformer::resampled_positions(stored, shape, 1);
          },
          .licence = "MIT",
          .make = [=](const EncoderShape& shape) { return std::make_shared<ModifiedResNet>(shape, size); }};
}

}  // namespace

std::vector<EncoderEntry> modified_resnet_entries() {
  return {modified_resnet_entry("RN50", 224, {{3, 4, 6, 3}, 64, 1024}),
          modified_resnet_entry("RN101", 224, {{3, 4, 23, 3}, 64, 512}),
          modified_resnet_entry("RN50x4", 288, {{4, 6, 10, 6}, 80, 640}),
          modified_resnet_entry("RN50x16", 384, {{6, 8, 18, 8}, 96, 768}),
          modified_resnet_entry("RN50x64", 448, {{3, 15, 36, 10}, 128, 1024})};
}

}  // namespace cskd::models
