#include "models/families/mobileone.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <torch/nn/init.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/nn/modules/conv.h>
#include <torch/types.h>

#include "models/families/reparameterised/apple_names.h"
#include "models/families/reparameterised/mobileone_block.h"
#include "runtime/check.h"

namespace cskd::models {
namespace {

using reparameterised::BlockActivation;
using reparameterised::MobileOneBlock;
using torch::Tensor;

constexpr int kMobileOneStride = 32;
constexpr std::array<int, 4> kPairs{2, 8, 10, 1};  // of a depthwise and a pointwise block, in each stage

struct MobileOneSize {
  int stem = 0;
  std::array<int, 4> widths{};  // of each stage
  int convolutions = 1;         // branches of the whole kernel, in all blocks but the stem
  std::array<int, 4> gated{};   // pairs at the end of each stage that have squeeze-and-excitation
};

// A sixteenth, to the nearest multiple of 8.
int squeezed_width(int width) { return std::max(8, (width / 16 + 4) / 8 * 8); }

class MobileOne final : public Encoder {
 public:
  MobileOne(const EncoderShape& shape, const MobileOneSize& size) : Encoder(shape) {
    CSKD_CHECK(shape.grid * kMobileOneStride == shape.image_size, "{}: a grid of {} for an image of {}", shape.name,
               shape.grid, shape.image_size);
    stem_ = register_module("stem", std::make_shared<MobileOneBlock>(reparameterised::MobileOneSize{
                                        .in = 3, .out = size.stem, .kernel = 3, .stride = 2, .activation = kRelu}));
    torch::nn::ModuleList stages = register_module("stages", torch::nn::ModuleList());
    int in = size.stem;
    for (std::size_t stage = 0; stage < kPairs.size(); ++stage) {
      torch::nn::ModuleList blocks;
      const auto add = [&](const reparameterised::MobileOneSize& block) {
        blocks_.push_back(std::make_shared<MobileOneBlock>(block));
        blocks->push_back(blocks_.back());
      };
      for (int pair = 0; pair < kPairs[stage]; ++pair) {
        const bool is_gated = pair >= kPairs[stage] - size.gated[stage];
        const int out = size.widths[stage];
        add({.in = in,
             .out = in,
             .kernel = 3,
             .stride = pair == 0 ? 2 : 1,
             .groups = in,
             .convolutions = size.convolutions,
             .squeezed = is_gated ? squeezed_width(in) : 0,
             .squeeze_name = "attn",
             .activation = kRelu});
        add({.in = in,
             .out = out,
             .convolutions = size.convolutions,
             .squeezed = is_gated ? squeezed_width(out) : 0,
             .squeeze_name = "attn",
             .activation = kRelu});
        in = out;
      }
      stages->push_back(blocks);
    }
    draw_weights();
  }

  Features forward(const Tensor& images, const Request& request) override {
    require(images, request);
    Tensor x = stem_->forward(images);
    for (std::size_t i = 0; i < blocks_.size(); ++i) x = blocks_[i]->forward(x, drop_path_of(i, blocks_.size()));
    return {
        .pooled = x.mean({2, 3}), .tokens = request.tokens ? x.flatten(2).transpose(1, 2) : Tensor(), .attention = {}};
  }

 private:
  static constexpr BlockActivation kRelu = BlockActivation::kRelu;

  // Normal with variance 2 / fan-out, as convolution() draws.
  void draw_weights() {
    for (const std::shared_ptr<torch::nn::Module>& module : modules(/*include_self=*/false)) {
      const auto layer = std::dynamic_pointer_cast<torch::nn::Conv2dImpl>(module);
      if (!layer) continue;
      const double fan_out = static_cast<double>(layer->weight.numel()) / static_cast<double>(layer->weight.size(1)) /
                             static_cast<double>(layer->options.groups());
      torch::nn::init::normal_(layer->weight, 0.0, std::sqrt(2 / fan_out));
      if (layer->bias.defined()) torch::nn::init::zeros_(layer->bias);
    }
  }

  std::shared_ptr<MobileOneBlock> stem_;
  std::vector<std::shared_ptr<MobileOneBlock>> blocks_;
};

WeightLayout apple_layout() {
  WeightLayout layout{.name = "Apple MobileOne", .rules = {}, .left_out = {{R"(linear\..*)", "classifier"}}};
  const auto add = [&](const std::string& place, const std::string& ours, int groups) {
    for (const NameRule& rule : reparameterised::block_rules(place, ours, "attn", groups)) layout.rules.push_back(rule);
  };
  add(R"(stage0\.)", "stem.", 0);
  for (std::size_t stage = 0; stage < kPairs.size(); ++stage)
    add(fmt::format(R"(stage{}\.(\d+)\.)", stage + 1), fmt::format("stages.{}.$1.", stage), 1);
  return layout;
}

EncoderEntry mobileone_entry(const char* name, const MobileOneSize& size) {
  return {
      .name = name,
      .image_size = 224,
      .normalisation = kImageNetNormalisation,
      .stride = kMobileOneStride,
      .pooled_width = size.widths.back(),
      .token_width = size.widths.back(),
      .parameters = {.stem = R"(stem\..*)", .block = R"(stages\.(\d+)\.(\d+)\..*)", .last_norm = "", .embeddings = {}},
      .normalises_batches = true,
      .home = "timm",
      .layouts = {apple_layout()},
      .unusable = {reparameterised::folded_tensors()},
      .licence = "MobileOne licence (Apple)",
      .make = [=](const EncoderShape& shape) { return std::make_shared<MobileOne>(shape, size); }};
}

}  // namespace

std::vector<EncoderEntry> mobileone_entries() {
  return {mobileone_entry("mobileone_s0", {.stem = 48, .widths = {48, 128, 256, 1024}, .convolutions = 4}),
          mobileone_entry("mobileone_s1", {.stem = 64, .widths = {96, 192, 512, 1280}}),
          mobileone_entry("mobileone_s2", {.stem = 64, .widths = {96, 256, 640, 2048}}),
          mobileone_entry("mobileone_s3", {.stem = 64, .widths = {128, 320, 768, 2048}}),
          mobileone_entry("mobileone_s4", {.stem = 64, .widths = {192, 448, 896, 2048}, .gated = {0, 0, 5, 1}})};
}

}  // namespace cskd::models
