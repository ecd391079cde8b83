#include "models/families/resnet.h"

#include <string>
#include <vector>

#include <torch/torch.h>

#include "models/convolution.h"
#include "runtime/check.h"

namespace cskd::models {
namespace {

struct ResNetSize {
  std::array<int, 4> blocks{};  // of each stage
  bool has_bottleneck = false;  // 1 x 1, 3 x 3, 1 x 1 to four times the width, instead of two 3 x 3
};

using torch::Tensor;

constexpr int kStemWidth = 64;

// The shortcut of a block whose input has another shape than its output: "downsample.0", "downsample.1".
torch::nn::Sequential projection(int in, int out, int stride) {
  return torch::nn::Sequential(convolution({.in = in, .out = out, .stride = stride}), batch_norm(out));
}

// timm's BasicBlock and Bottleneck: convolutions with norms, ReLU between them and after the sum. The last norm begins
// at zero, so that a block begins as its shortcut.
class Block final : public torch::nn::Module {
 public:
  Block(int in, int width, int stride, bool has_bottleneck) {
    const int out = has_bottleneck ? 4 * width : width;
    if (has_bottleneck) {
      add({.in = in, .out = width});
      add({.in = width, .out = width, .kernel = 3, .stride = stride});
      add({.in = width, .out = out});
    } else {
      add({.in = in, .out = width, .kernel = 3, .stride = stride});
      add({.in = width, .out = width, .kernel = 3});
    }
    torch::nn::init::zeros_(norms_.back()->weight);
    if (stride != 1 || in != out) shortcut_ = register_module("downsample", projection(in, out, stride));
  }

  Tensor forward(const Tensor& input) {
    Tensor x = input;
    for (std::size_t i = 0; i < convolutions_.size(); ++i) {
      x = norms_[i]->forward(convolutions_[i]->forward(x));
      if (i + 1 < convolutions_.size()) x = torch::relu(x);
    }
    return torch::relu(x + (shortcut_ ? shortcut_->forward(input) : input));
  }

 private:
  void add(const ConvolutionSize& size) {
    const std::string number = std::to_string(convolutions_.size() + 1);
    convolutions_.push_back(register_module("conv" + number, convolution(size)));
    norms_.push_back(register_module("bn" + number, batch_norm(size.out)));
  }

  std::vector<torch::nn::Conv2d> convolutions_;
  std::vector<torch::nn::BatchNorm2d> norms_;
  torch::nn::Sequential shortcut_{nullptr};
};

class ResNet final : public Encoder {
 public:
  ResNet(const EncoderShape& shape, const ResNetSize& size) : Encoder(shape) {
    CSKD_CHECK(shape.grid * 32 == shape.image_size, "{}: a grid of {} for an image of {}", shape.name, shape.grid,
               shape.image_size);
    stem_ = register_module("conv1", convolution({.in = 3, .out = kStemWidth, .kernel = 7, .stride = 2}));
    stem_norm_ = register_module("bn1", batch_norm(kStemWidth));
    int in = kStemWidth;
    for (std::size_t stage = 0; stage < size.blocks.size(); ++stage) {
      const int width = kStemWidth << stage;
      torch::nn::ModuleList blocks = register_module("layer" + std::to_string(stage + 1), torch::nn::ModuleList());
      for (int i = 0; i < size.blocks[stage]; ++i) {
        blocks_.push_back(std::make_shared<Block>(in, width, i == 0 && stage > 0 ? 2 : 1, size.has_bottleneck));
        blocks->push_back(blocks_.back());
        in = size.has_bottleneck ? 4 * width : width;
      }
    }
  }

  Features forward(const Tensor& images, const Request& request) override {
    require(images, request);
    Tensor x = torch::relu(stem_norm_->forward(stem_->forward(images)));
    x = torch::max_pool2d(x, 3, 2, 1);
    for (const auto& block : blocks_) x = block->forward(x);
    return {
        .pooled = x.mean({2, 3}), .tokens = request.tokens ? x.flatten(2).transpose(1, 2) : Tensor(), .attention = {}};
  }

 private:
  torch::nn::Conv2d stem_{nullptr};
  torch::nn::BatchNorm2d stem_norm_{nullptr};
  std::vector<std::shared_ptr<Block>> blocks_;
};

EncoderEntry entry(const char* name, const ResNetSize& size) {
  const int width = size.has_bottleneck ? 2048 : 512;
  return {.name = name,
          .image_size = 224,
          .normalisation = kImageNetNormalisation,
          .stride = 32,
          .pooled_width = width,
          .token_width = width,
          .parameters = {.stem = R"((conv1|bn1)\..*)",
                         .block = R"(layer(\d+)\.(\d+)\..*)",
                         .last_norm = "",
                         .embeddings = {}},
          .normalises_batches = true,
          .home = "timm",
          .make = [=](const EncoderShape& shape) { return std::make_shared<ResNet>(shape, size); }};
}

}  // namespace

std::vector<EncoderEntry> resnet_entries() {
  return {entry("resnet18", {{2, 2, 2, 2}, false}), entry("resnet50", {{3, 4, 6, 3}, true})};
}

}  // namespace cskd::models
