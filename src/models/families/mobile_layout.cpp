#include "models/families/mobile_layout.h"

#include <string>
#include <vector>

#include <fmt/format.h>

#include "runtime/check.h"

namespace cskd::models {
namespace {

constexpr double kTorchvisionMobileNetV3Epsilon = 1e-3;

// Joins the parts of a module's name; none for an empty part.
std::string below(const std::string& parent, const std::string& child) {
  return parent.empty() || child.empty() ? parent + child : parent + "." + child;
}

// A module's name as a regular expression.
std::string pattern_of(const std::string& module) {
  std::string pattern;
  for (const char letter : module) pattern += letter == '.' ? std::string("\\.") : std::string(1, letter);
  return pattern;
}

class LayoutBuilder {
 public:
  // added_variance: what is added to running variances.
  explicit LayoutBuilder(std::string name, double added_variance = 0) : added_variance_(added_variance) {
    layout_.name = std::move(name);
  }

  // Every tensor of a module.
  void add(const std::string& theirs, const std::string& ours) {
    layout_.rules.push_back({.pattern = pattern_of(theirs) + R"(\.(.*))", .name = ours + ".$1"});
  }

  void add_norm(const std::string& theirs, const std::string& ours) {
    if (added_variance_ == 0) return add(theirs, ours);
    const std::string pattern = pattern_of(theirs);
    layout_.rules.push_back({.pattern = pattern + R"(\.(?!running_var)(.*))", .name = ours + ".$1"});
    layout_.rules.push_back(
        {.pattern = pattern + R"(\.running_var)", .name = ours + ".running_var", .added = added_variance_});
  }

  WeightLayout layout() && { return std::move(layout_); }

 private:
  WeightLayout layout_;
  double added_variance_;
};

// Calls visit(stage, number in the stage, number over all stages, block).
template <typename Visit>
void for_each_block(const MobilePlan& plan, const Visit& visit) {
  std::size_t number = 0;
  for (std::size_t stage = 0; stage < plan.stages.size(); ++stage) {
    for (std::size_t i = 0; i < plan.stages[stage].size(); ++i) visit(stage, i, number++, plan.stages[stage][i]);
  }
}

}  // namespace

WeightLayout torchvision_layout(const MobilePlan& plan, TorchvisionForm form) {
  CSKD_CHECK(plan.padding == Padding::kHalf, "torchvision has no SAME padding");
  const bool is_v2 = form == TorchvisionForm::kMobileNetV2;
  const bool is_v3 = form == TorchvisionForm::kMobileNetV3;
  LayoutBuilder builder("torchvision", is_v3 ? kTorchvisionMobileNetV3Epsilon - plan.epsilon : 0);
  // torchvision's module of a convolution, its norm and its activation.
  const auto add_unit = [&](const std::string& unit, const std::string& convolution, const std::string& norm) {
    builder.add(unit + ".0", convolution);
    builder.add_norm(unit + ".1", norm);
  };
  add_unit("features.0", "conv_stem", "bn1");
  std::size_t units = 0;  // of features, behind the stem
  for_each_block(plan, [&](std::size_t stage, std::size_t in_stage, std::size_t number, const BlockPlan& block) {
    const std::string ours = fmt::format("blocks.{}.{}", stage, in_stage);
    const bool is_by_stage = form == TorchvisionForm::kEfficientNet;
    units = is_by_stage ? stage + 1 : number + 1;
    const std::string theirs =
        is_by_stage ? fmt::format("features.{}.{}", units, in_stage) : fmt::format("features.{}", units);
    const std::string list = theirs + (is_v2 ? ".conv" : ".block");
    const std::vector<BlockPart> parts = parts_of(block, plan.padding);
    std::size_t place = 0;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const bool is_last = i + 1 == parts.size();
      const std::string convolution = below(below(ours, parts[i].module), parts[i].convolution);
      const std::string norm = below(below(ours, parts[i].module), parts[i].norm);
      if (is_last && block.squeezed > 0) {
        const std::string squeeze = fmt::format("{}.{}", list, place++);
        builder.add(squeeze + ".fc1", ours + ".se.conv_reduce");
        builder.add(squeeze + ".fc2", ours + ".se.conv_expand");
      }
      if (block.form == BlockForm::kConvolution) {
        add_unit(theirs, convolution, norm);
      } else if (is_v2 && is_last) {
        builder.add(fmt::format("{}.{}", list, place), convolution);
        builder.add_norm(fmt::format("{}.{}", list, place + 1), norm);
      } else {
        add_unit(fmt::format("{}.{}", list, place++), convolution, norm);
      }
    }
  });
  if (plan.head == MobileHead::kPooledConvolution) {
    builder.add("classifier.0", "conv_head");
  } else {
    add_unit(fmt::format("features.{}", units + 1), "conv_head", "bn2");
  }
  return std::move(builder).layout();
}

WeightLayout efficientnet_pytorch_layout(const MobilePlan& plan) {
  CSKD_CHECK(plan.padding == Padding::kSame && plan.epsilon == kTensorFlowEpsilon,
             "EfficientNet-PyTorch computes as TensorFlow does");
  LayoutBuilder builder("EfficientNet-PyTorch");
  builder.add("_conv_stem", "conv_stem");
  builder.add("_bn0", "bn1");
  for_each_block(plan, [&](std::size_t stage, std::size_t in_stage, std::size_t number, const BlockPlan& block) {
    const std::string ours = fmt::format("blocks.{}.{}.", stage, in_stage);
    const std::string theirs = fmt::format("_blocks.{}.", number);
    const std::vector<BlockPart> parts = parts_of(block, plan.padding);
    const std::vector<const char*> convolutions{"_expand_conv", "_depthwise_conv", "_project_conv"};
    // A block without an expansion begins with the second.
    const std::size_t skipped = convolutions.size() - parts.size();
    for (std::size_t i = 0; i < parts.size(); ++i) {
      builder.add(theirs + convolutions[i + skipped], ours + parts[i].convolution);
      builder.add(fmt::format("{}_bn{}", theirs, i + skipped), ours + parts[i].norm);
    }
    if (block.squeezed > 0) {
      builder.add(theirs + "_se_reduce", ours + "se.conv_reduce");
      builder.add(theirs + "_se_expand", ours + "se.conv_expand");
    }
  });
  builder.add("_conv_head", "conv_head");
  builder.add("_bn1", "bn2");
  return std::move(builder).layout();
}

}  // namespace cskd::models
