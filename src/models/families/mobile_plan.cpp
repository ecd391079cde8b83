#include "models/families/mobile_plan.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "runtime/check.h"

namespace cskd::models {
namespace {

bool expands(BlockForm form) { return form != BlockForm::kConvolution && form != BlockForm::kSeparable; }

int squeezed_channels(const BlockPlan& block, Squeeze squeeze) {
  return squeeze == Squeeze::kHard ? rounded_channels(0.25 * block.expanded) : block.in / 4;
}

BlockPlan block_of(const BlockRow& row, int in, bool is_first, const MobilePlan& plan, double width) {
  BlockPlan block{.form = row.form,
                  .in = in,
                  .expanded = expands(row.form) ? rounded_channels(in * row.expansion) : in,
                  .out = rounded_channels(row.out * width),
                  .kernel = row.kernel,
                  .start_kernel = row.start_kernel,
                  .stride = is_first ? row.stride : 1,
                  .activation = row.activation.value_or(plan.activation)};
  if (row.squeezes) block.squeezed = squeezed_channels(block, plan.squeeze);
  return block;
}

ConvolutionSize depthwise(int width, int kernel, int stride, Padding padding) {
  return {.in = width, .out = width, .kernel = kernel, .stride = stride, .groups = width, .padding = padding};
}

}  // namespace

int rounded_channels(double channels) {
  const int nearest = std::max(8, static_cast<int>(channels + 4) / 8 * 8);
  return nearest < 0.9 * channels ? nearest + 8 : nearest;
}

MobilePlan scaled(MobilePlan plan, const BlockTable& table, const MobileScale& scale) {
  if (!scale.keeps_stem) plan.stem = rounded_channels(plan.stem * scale.width);
  int width = plan.stem;
  for (std::size_t stage = 0; stage < table.size(); ++stage) {
    const bool is_end = stage == 0 || stage + 1 == table.size();
    const double depth = is_end && scale.keeps_end_depths ? 1 : scale.depth;
    CSKD_CHECK(depth == 1 || table[stage].size() == 1, "a depth of {} for a stage of {} rows", depth,
               table[stage].size());
    std::vector<BlockPlan>& blocks = plan.stages.emplace_back();
    for (const BlockRow& row : table[stage]) {
      const int repeats = static_cast<int>(std::ceil(row.repeats * depth));
      for (int i = 0; i < repeats; ++i) {
        blocks.push_back(block_of(row, width, i == 0, plan, scale.width));
        width = blocks.back().out;
      }
    }
  }
  return plan;
}

std::vector<BlockPart> parts_of(const BlockPlan& block, Padding padding) {
  const ConvolutionSize expansion{.in = block.in, .out = block.expanded};
  const ConvolutionSize projection{.in = block.expanded, .out = block.out};
  const ConvolutionSize middle = depthwise(block.expanded, block.kernel, block.stride, padding);
  const ConvolutionSize dense{.in = block.in,
                              .out = block.form == BlockForm::kFused ? block.expanded : block.out,
                              .kernel = block.kernel,
                              .stride = block.stride,
                              .padding = padding};
  switch (block.form) {
    case BlockForm::kConvolution:
      return {{"", "conv", "bn1", dense, true}};
    case BlockForm::kSeparable:
      return {{"", "conv_dw", "bn1", middle, true}, {"", "conv_pw", "bn2", projection, false}};
    case BlockForm::kInverted:
      return {{"", "conv_pw", "bn1", expansion, true},
              {"", "conv_dw", "bn2", middle, true},
              {"", "conv_pwl", "bn3", projection, false}};
    case BlockForm::kFused:
      return {{"", "conv_exp", "bn1", dense, true}, {"", "conv_pwl", "bn2", projection, false}};
    case BlockForm::kUniversal:
      break;
  }
  CSKD_CHECK(block.stride == 1 || block.start_kernel > 0 || block.kernel > 0,
             "a block with a stride of {} and nothing that has it", block.stride);
  std::vector<BlockPart> parts;
  if (block.start_kernel > 0) {
    const int stride = block.kernel > 0 ? 1 : block.stride;
    parts.push_back({"dw_start", "conv", "bn", depthwise(block.in, block.start_kernel, stride, padding), false});
  }
  parts.push_back({"pw_exp", "conv", "bn", expansion, true});
  if (block.kernel > 0) parts.push_back({"dw_mid", "conv", "bn", middle, true});
  parts.push_back({"pw_proj", "conv", "bn", projection, false});
  return parts;
}

}  // namespace cskd::models
