#include "models/families/fastvit.h"

#include <algorithm>
#include <memory>
#include <numeric>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <torch/nn/modules/container/modulelist.h>
#include <torch/types.h>

#include "models/families/reparameterised/apple_names.h"
#include "models/families/reparameterised/fastvit_block.h"
#include "runtime/check.h"

namespace cskd::models {
namespace {

using reparameterised::AttentionNorm;
using reparameterised::BlockActivation;
using reparameterised::ConditionalPositions;
using reparameterised::Downsample;
using reparameterised::MixingBlock;
using reparameterised::MobileOneBlock;
using torch::Tensor;

struct FastVitSize {
  std::vector<int> blocks;  // of each stage
  int width = 0;            // of the first stage; every further one has twice its predecessor's
  int mlp_ratio = 0;
  int attention_stages = 0;  // at the end
  int squeezing_stages = 0;  // at the end: downsampling with squeeze-and-excitation
  bool activates = false;    // GELU behind the large kernels of downsampling
  AttentionNorm norm = AttentionNorm::kBatch;
  bool stem_has_scale = true;

  int stages() const { return static_cast<int>(blocks.size()); }
  int stride() const { return 2 << stages(); }
  int last_width() const { return 2 * (width << (stages() - 1)); }
  bool has_attention(int stage) const { return stage >= stages() - attention_stages; }
  int attention_layers() const { return std::accumulate(blocks.end() - attention_stages, blocks.end(), 0); }
};

class Stage final : public torch::nn::Module {
 public:
  Stage(const FastVitSize& size, int stage) {
    const int width = size.width << stage;
    if (stage > 0) {
      downsample_ = register_module(
          "downsample", std::make_shared<Downsample>(width / 2, width, stage >= size.stages() - size.squeezing_stages,
                                                     size.activates));
    }
    if (size.has_attention(stage))
      positions_ = register_module("pos_emb", std::make_shared<ConditionalPositions>(width));
    torch::nn::ModuleList list = register_module("blocks", torch::nn::ModuleList());
    for (int i = 0; i < size.blocks[static_cast<std::size_t>(stage)]; ++i) {
      blocks_.push_back(size.has_attention(stage) ? reparameterised::attention_block(width, size.mlp_ratio, size.norm)
                                                  : reparameterised::convolution_block(width, size.mlp_ratio));
      list->push_back(blocks_.back());
    }
  }

  // What comes before the blocks.
  Tensor forward(const Tensor& x) {
    const Tensor down = downsample_ ? downsample_->forward(x) : x;
    return positions_ ? positions_->forward(down) : down;
  }

  const std::vector<std::shared_ptr<MixingBlock>>& blocks() const { return blocks_; }

 private:
  std::shared_ptr<Downsample> downsample_;
  std::shared_ptr<ConditionalPositions> positions_;
  std::vector<std::shared_ptr<MixingBlock>> blocks_;
};

class FastViT final : public Encoder {
 public:
  FastViT(const EncoderShape& shape, const FastVitSize& size)
      : Encoder(shape), blocks_(std::accumulate(size.blocks.begin(), size.blocks.end(), std::size_t{0})) {
    CSKD_CHECK(shape.grid * size.stride() == shape.image_size, "{}: a grid of {} for an image of {}", shape.name,
               shape.grid, shape.image_size);
    const auto stem = register_module("stem", std::make_shared<torch::nn::Module>("Sequential"));
    const auto add = [&](reparameterised::MobileOneSize block) {
      block.out = size.width;
      block.has_scale = size.stem_has_scale;
      block.activation = BlockActivation::kGelu;
      stem_.push_back(std::make_shared<MobileOneBlock>(block));
      stem->register_module(std::to_string(stem_.size() - 1), stem_.back());
    };
    add({.in = 3, .kernel = 3, .stride = 2});
    add({.in = size.width, .kernel = 3, .stride = 2, .groups = size.width});
    add({.in = size.width});
    torch::nn::ModuleList list = register_module("stages", torch::nn::ModuleList());
    for (int stage = 0; stage < size.stages(); ++stage) {
      stages_.push_back(std::make_shared<Stage>(size, stage));
      list->push_back(stages_.back());
    }
    const int out = size.last_width();
    last_ = register_module("final_conv", std::make_shared<MobileOneBlock>(
                                              reparameterised::MobileOneSize{.in = out / 2,
                                                                             .out = out,
                                                                             .kernel = 3,
                                                                             .groups = out / 2,
                                                                             .squeezed = out / 16,
                                                                             .activation = BlockActivation::kGelu}));
  }

  Features forward(const Tensor& images, const Request& request) override {
    require(images, request);
    Features features;
    features.attention.resize(request.attention.size());
    Tensor x = images;
    for (const auto& block : stem_) x = block->forward(x);
    std::size_t block_number = 0;
    for (const auto& stage : stages_) {
      x = stage->forward(x);
      for (const auto& block : stage->blocks()) {
        x = block->forward(x, drop_path_of(block_number, blocks_), captured(block_number, request, features));
        ++block_number;
      }
    }
    x = last_->forward(x);
    features.pooled = x.mean({2, 3});
    if (request.tokens) features.tokens = x.flatten(2).transpose(1, 2);
    return features;
  }

 private:
  // Where a block's attention is wanted; null if it is not.
  Attention* captured(std::size_t block, const Request& request, Features& features) const {
    const int layer = static_cast<int>(block) - static_cast<int>(blocks_) + shape().attention_layers;
    const auto wanted = std::ranges::find(request.attention, layer);
    if (wanted == request.attention.end()) return nullptr;
    return &features.attention[static_cast<std::size_t>(wanted - request.attention.begin())];
  }

  std::size_t blocks_;
  std::vector<std::shared_ptr<MobileOneBlock>> stem_;
  std::vector<std::shared_ptr<Stage>> stages_;
  std::shared_ptr<MobileOneBlock> last_;
};

// Apple keeps stages, the downsampling between them and positions in one list, `network`.
WeightLayout apple_layout(const FastVitSize& size) {
  WeightLayout layout{.name = "Apple FastViT", .rules = {}, .left_out = {}};
  const auto rule = [&](const std::string& theirs, const std::string& ours) { layout.rules.push_back({theirs, ours}); };
  const auto block = [&](const std::string& theirs, const std::string& ours, int groups) {
    for (const NameRule& part : reparameterised::block_rules(theirs, ours, "se", groups)) layout.rules.push_back(part);
  };
  block(R"(patch_embed\.(\d+)\.)", "stem.$1.", 1);
  block(R"(conv_exp\.)", "final_conv.", 0);
  int number = 0;
  for (int stage = 0; stage < size.stages(); ++stage) {
    const std::string own = fmt::format("stages.{}.", stage);
    if (stage > 0) block(fmt::format(R"(network\.{}\.proj\.(\d+)\.)", number++), own + "downsample.proj.$1.", 1);
    if (size.has_attention(stage)) rule(fmt::format(R"(network\.{}\.pe\.(.*))", number++), own + "pos_emb.pos_enc.$1");
    const std::string theirs = fmt::format(R"(network\.{}\.(\d+)\.)", number++);
    const std::string ours = own + "blocks.$1.";
    block(theirs + R"(token_mixer\.(norm|mixer)\.)", ours + "token_mixer.$2.", 2);
    rule(theirs + R"(((?:token_mixer\.)?layer_scale(?:_[12])?))", ours + "$2.gamma");
    rule(theirs + R"(convffn\.(.*))", ours + "mlp.$2");
    if (size.has_attention(stage)) rule(theirs + R"(((?:norm|token_mixer\.qkv|token_mixer\.proj)\..*))", ours + "$2");
  }
  return layout;
}

EncoderEntry fastvit_entry(const char* name, const Normalisation& normalisation, const char* licence,
                           const FastVitSize& size) {
  return {.name = name,
          .image_size = 256,
          .normalisation = normalisation,
          .stride = size.stride(),
          .pooled_width = size.last_width(),
          .token_width = size.last_width(),
          .attention_layers = size.attention_layers(),
          .parameters = {.stem = R"(stem\..*)",
                         .block = R"(stages\.(\d+)\.(?:blocks\.(\d+)|downsample|pos_emb)\..*)",
                         .last_norm = "",
                         .embeddings = {}},
          .normalises_batches = true,
          .home = "timm",
          .layouts = {apple_layout(size)},
          .left_out = {},
          .unusable = {reparameterised::folded_tensors()},
          .licence = licence,
          .make = [=](const EncoderShape& shape) { return std::make_shared<FastViT>(shape, size); }};
}

}  // namespace

std::vector<EncoderEntry> fastvit_entries() {
  const auto fastvit = [](const char* name, const FastVitSize& size) {
    return fastvit_entry(name, kImageNetNormalisation, "FastViT licence (Apple)", size);
  };
  const auto clip = [](const char* name, const Normalisation& normalisation, const FastVitSize& size) {
    EncoderEntry made = fastvit_entry(name, normalisation, "Apple ML Research", size);
    made.left_out = {{R"(head\.(fc\..*|proj))", "projection"}};
    return made;
  };
  const auto with_attention = [](std::vector<int> blocks, int width, int mlp_ratio) {
    return FastVitSize{.blocks = std::move(blocks), .width = width, .mlp_ratio = mlp_ratio, .attention_stages = 1};
  };
  // MobileCLIP's towers, and the larger ones of MobileCLIP2.
  const auto mobile_clip = [&](std::vector<int> blocks, int width) {
    FastVitSize size = with_attention(std::move(blocks), width, 3);
    size.squeezing_stages = 2;
    size.activates = true;
    return size;
  };
  const auto five_stages = [&](std::vector<int> blocks, int width) {
    FastVitSize size = with_attention(std::move(blocks), width, 4);
    size.attention_stages = 2;
    size.activates = true;
    size.norm = AttentionNorm::kLayer;
    size.stem_has_scale = false;
    return size;
  };
  return {fastvit("fastvit_t8", {.blocks = {2, 2, 4, 2}, .width = 48, .mlp_ratio = 3}),
          fastvit("fastvit_t12", {.blocks = {2, 2, 6, 2}, .width = 64, .mlp_ratio = 3}),
          fastvit("fastvit_s12", {.blocks = {2, 2, 6, 2}, .width = 64, .mlp_ratio = 4}),
          fastvit("fastvit_sa12", with_attention({2, 2, 6, 2}, 64, 4)),
          fastvit("fastvit_sa24", with_attention({4, 4, 12, 4}, 64, 4)),
          fastvit("fastvit_sa36", with_attention({6, 6, 18, 6}, 64, 4)),
          fastvit("fastvit_ma36", with_attention({6, 6, 18, 6}, 76, 4)),
          clip("fastvit_mci0", kUnitNormalisation, mobile_clip({2, 6, 10, 2}, 64)),
          clip("fastvit_mci1", kUnitNormalisation, mobile_clip({4, 12, 20, 4}, 64)),
          clip("fastvit_mci2", kUnitNormalisation, mobile_clip({4, 12, 24, 4}, 80)),
          clip("fastvit_mci3", kClipNormalisation, five_stages({2, 12, 24, 4, 2}, 96)),
          clip("fastvit_mci4", kClipNormalisation, five_stages({2, 12, 24, 4, 4}, 128))};
}

}  // namespace cskd::models
