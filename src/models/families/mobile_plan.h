// Mobile networks as numbers: MobileNetV2, V3 and V4, EfficientNet and EfficientNet-Lite, whose blocks are the same
// few.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "models/convolution.h"

namespace cskd::models {

// Of the norms in networks that TensorFlow trained.
inline constexpr double kTensorFlowEpsilon = 1e-3;

enum class BlockForm {
  kConvolution,  // one convolution, never with a shortcut
  kSeparable,    // depthwise, then pointwise
  kInverted,     // pointwise expansion, depthwise, pointwise projection
  kFused,        // expansion by a convolution over all channels, pointwise projection
  kUniversal     // MobileNetV4's: depthwise, pointwise expansion, depthwise, pointwise projection; either depthwise may
                 // lack
};

enum class Activation { kRelu, kRelu6, kHardSwish, kSwish };

// Squeeze-and-excitation before the last convolution of a block (https://arxiv.org/abs/1709.01507).
enum class Squeeze {
  kHard,   // MobileNetV3: to a quarter of the expanded channels, rounded; ReLU and hard sigmoid
  kSmooth  // EfficientNet: to a quarter of the block's input; the block's activation and sigmoid
};

// What stands behind the blocks.
enum class MobileHead {
  kConvolution,             // conv_head, bn2 and the activation, then the mean
  kPooledConvolution,       // the mean, then conv_head with a bias and the activation
  kPooledNormedConvolution  // the mean, then conv_head, norm_head and the activation
};

// A row of a paper's table, before it is scaled.
struct BlockRow {
  BlockForm form;
  int repeats;
  int kernel;        // of the convolution that is not pointwise; of kUniversal the second, 0: there is none
  int stride;        // of the first repetition
  double expansion;  // of the channels of the block's input; not of kConvolution and kSeparable
  int out;
  bool squeezes = false;
  std::optional<Activation> activation = std::nullopt;  // where it is not the network's
  int start_kernel = 0;                                 // of kUniversal the first, 0: there is none
};
using BlockTable = std::vector<std::vector<BlockRow>>;  // by stage

// Shares of the published widths and depths. The last two keep the stem, and the depth of the first and the last stage.
struct MobileScale {
  double width = 1;
  double depth = 1;
  bool keeps_stem = false;
  bool keeps_end_depths = false;
};

struct BlockPlan {
  BlockForm form = BlockForm::kConvolution;
  int in = 0;
  int expanded = 0;  // channels before the last convolution
  int out = 0;
  int kernel = 1;
  int start_kernel = 0;
  int stride = 1;
  int squeezed = 0;  // channels between the two convolutions of the squeeze; 0: there is none
  Activation activation = Activation::kRelu;

  bool has_shortcut() const { return form != BlockForm::kConvolution && stride == 1 && in == out; }
};

struct MobilePlan {
  int stem = 0;                                     // channels
  std::vector<std::vector<BlockPlan>> stages = {};  // one at least
  MobileHead head = MobileHead::kConvolution;
  int pooled_width = 0;
  Activation activation = Activation::kRelu;
  Squeeze squeeze = Squeeze::kHard;
  Padding padding = Padding::kHalf;
  double epsilon = kNormEpsilon;

  int last_width() const { return stages.back().back().out; }
  int token_width() const { return head == MobileHead::kConvolution ? pooled_width : last_width(); }
};

// The nearest multiple of 8, and the next if that loses more than a tenth; 8 at least.
int rounded_channels(double channels);

// `plan` with the blocks of `table`, its own stem scaled. REQUIRES: a stage is one row where its depth is scaled
MobilePlan scaled(MobilePlan plan, const BlockTable& table, const MobileScale& scale);

// A convolution of a block with its norm. timm's names: of the module below the block that holds both ("": the block
// itself), and of each.
struct BlockPart {
  std::string module;
  std::string convolution;
  std::string norm;
  ConvolutionSize size;
  bool is_activated = false;
};

// In their order. A squeeze, "se", stands before the last.
std::vector<BlockPart> parts_of(const BlockPlan& block, Padding padding);

}  // namespace cskd::models
