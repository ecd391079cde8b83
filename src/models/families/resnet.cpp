#include "models/families/resnet.h"

#include <array>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <torch/nn/init.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/types.h>

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

// timm's BasicBlock and Bottleneck: convolutions with norms, ReLU between them and after the sum. The last norm begins
// at zero, so that a block begins as its shortcut.
class ResNetBlock final : public torch::nn::Module {
 public:
  ResNetBlock(int in, int width, int stride, bool has_bottleneck) {
    const int out = has_bottleneck ? 4 * width : width;
    if (has_bottleneck) {
      add({.in = in, .out = width});
      add({.in = width, .out = width, .kernel = 3, .stride = stride});
      add({.in = width, .out = out});
    } else {
      add({.in = in, .out = width, .kernel = 3, .stride = stride});
      add({.in = width, .out = width, .kernel = 3});
    }
    torch::nn::init::zeros_(convolutions_.back()->norm()->weight);
    if (stride != 1 || in != out) {
      const auto shortcut = register_module("downsample", std::make_shared<torch::nn::Module>("Shortcut"));
      shortcut_ = normed_convolution(*shortcut, "0", "1", {.in = in, .out = out, .stride = stride});
    }
  }

  // drop_probability: of the branch, as of drop_path().
  Tensor forward(const Tensor& input, double drop_probability) {
    Tensor x = convolutions_.front()->forward(input);
    for (std::size_t i = 1; i < convolutions_.size(); ++i) x = convolutions_[i]->forward(torch::relu_(x));
    x = drop_path(x, drop_probability, is_training());
    return torch::relu_(x.add_(shortcut_ ? shortcut_->forward(input) : input));
  }

 private:
  void add(const ConvolutionSize& size) {
    const std::string number = std::to_string(convolutions_.size() + 1);
    convolutions_.push_back(normed_convolution(*this, "conv" + number, "bn" + number, size));
  }

  std::vector<std::shared_ptr<NormedConvolution>> convolutions_;
  std::shared_ptr<NormedConvolution> shortcut_;
};

class ResNet final : public Encoder {
 public:
  ResNet(const EncoderShape& shape, const ResNetSize& size) : Encoder(shape) {
    CSKD_CHECK(shape.grid * 32 == shape.image_size, "{}: a grid of {} for an image of {}", shape.name, shape.grid,
               shape.image_size);
    stem_ = normed_convolution(*this, "conv1", "bn1", {.in = 3, .out = kStemWidth, .kernel = 7, .stride = 2});
    int in = kStemWidth;
    for (std::size_t stage = 0; stage < size.blocks.size(); ++stage) {
      const int width = kStemWidth << stage;
      torch::nn::ModuleList blocks = register_module("layer" + std::to_string(stage + 1), torch::nn::ModuleList());
      for (int i = 0; i < size.blocks[stage]; ++i) {
        blocks_.push_back(std::make_shared<ResNetBlock>(in, width, i == 0 && stage > 0 ? 2 : 1, size.has_bottleneck));
        blocks->push_back(blocks_.back());
        in = size.has_bottleneck ? 4 * width : width;
      }
    }
  }

  Features forward(const Tensor& images, const Request& request) override {
    require(images, request);
    Tensor x = stem_->forward(images);
    x = torch::max_pool2d(torch::relu_(x), 3, 2, 1);
    for (std::size_t i = 0; i < blocks_.size(); ++i) x = blocks_[i]->forward(x, drop_path_of(i, blocks_.size()));
    return {
        .pooled = x.mean({2, 3}), .tokens = request.tokens ? x.flatten(2).transpose(1, 2) : Tensor(), .attention = {}};
  }

 private:
  std::shared_ptr<NormedConvolution> stem_;
  std::vector<std::shared_ptr<ResNetBlock>> blocks_;
};

// Hugging Face's ResNetModel, and ResNetForImageClassification, whose names begin with "resnet.".
WeightLayout hugging_face_layout() {
  constexpr int kMostConvolutions = 3;
  const std::string start = R"((?:resnet\.)?)";
  WeightLayout layout{.name = "Hugging Face ResNet", .rules = {}, .left_out = {}};
  const auto add = [&](const std::string& place, const std::string& convolution, const std::string& norm) {
    layout.rules.push_back({start + place + R"(\.convolution\.(.*))", convolution});
    layout.rules.push_back({start + place + R"(\.normalization\.(.*))", norm});
  };
  add(R"(embedder\.embedder)", "conv1.$1", "bn1.$1");
  for (int stage = 0; stage < 4; ++stage) {
    const std::string block = fmt::format(R"(encoder\.stages\.{}\.layers\.(\d+))", stage);
    const std::string ours = fmt::format("layer{}.$1", stage + 1);
    add(block + R"(\.shortcut)", ours + ".downsample.0.$2", ours + ".downsample.1.$2");
    for (int i = 0; i < kMostConvolutions; ++i) {
      add(fmt::format(R"({}\.layer\.{})", block, i), fmt::format("{}.conv{}.$2", ours, i + 1),
          fmt::format("{}.bn{}.$2", ours, i + 1));
    }
  }
  return layout;
}

EncoderEntry resnet_entry(const char* name, const ResNetSize& size) {
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
          .layouts = {hugging_face_layout()},
          .licence = "Apache-2.0",
          .make = [=](const EncoderShape& shape) { return std::make_shared<ResNet>(shape, size); }};
}

}  // namespace

std::vector<EncoderEntry> resnet_entries() {
  return {resnet_entry("resnet18", {{2, 2, 2, 2}, false}), resnet_entry("resnet34", {{3, 4, 6, 3}, false}),
          resnet_entry("resnet50", {{3, 4, 6, 3}, true}), resnet_entry("resnet101", {{3, 4, 23, 3}, true}),
          resnet_entry("resnet152", {{3, 8, 36, 3}, true})};
}

}  // namespace cskd::models
