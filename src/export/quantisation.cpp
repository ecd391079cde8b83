#include "export/quantisation.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "export/translation.h"

namespace cskd::exporting {
namespace {

constexpr double kSteps = 255;     // between the least and the greatest uint8
constexpr double kMostInt8 = 127;  // symmetric

// A convolution or product with constant weights: which argument holds them, and along which of their dimensions its
// outputs lie.
struct Product {
  std::size_t input = 0, weight = 0, bias = 0;  // arguments
  std::int64_t channels = 0;                    // dimension of the weight
};

std::optional<Product> product_of(const Recording& recording, const Operation& operation) {
  const auto has_weights = [&](std::size_t argument) {
    return recording.values[operation.value(argument)].constant.has_value();
  };
  if (operation.name == "_convolution" && has_weights(1)) return Product{0, 1, 2, 0};
  if (operation.name == "addmm" && has_weights(2)) return Product{1, 2, 0, 1};
  return std::nullopt;
}

struct Scale {
  double scale = 1;
  std::int64_t zero = 0;
};

Scale scale_of(const Range& range) {
  const double scale = std::max((range.high - range.low) / kSteps, 1e-12);
  return {scale, std::clamp<std::int64_t>(std::llround(-range.low / scale), 0, 255)};
}

// [channels], of weights with the channels along a dimension.
at::Tensor weight_scales(const at::Tensor& weight, std::int64_t channels) {
  std::vector<std::int64_t> others;
  for (std::int64_t i = 0; i < weight.dim(); ++i) {
    if (i != channels) others.push_back(i);
  }
  return weight.abs().amax(others).clamp_min(1e-12) / kMostInt8;
}

at::Tensor along(const at::Tensor& scales, std::int64_t dimensions, std::int64_t channels) {
  std::vector<std::int64_t> shape(static_cast<std::size_t>(dimensions), 1);
  shape[static_cast<std::size_t>(channels)] = -1;
  return scales.view(shape);
}

at::Tensor integers(const at::Tensor& weight, const at::Tensor& scales, std::int64_t channels) {
  return (weight / along(scales, weight.dim(), channels)).round().clamp(-kMostInt8, kMostInt8).to(at::kChar);
}

bool is_clip(const Operation& operation) { return operation.name == "relu" || operation.name == "hardtanh"; }

// What a value is rounded as: behind a clip that alone reads it, the clip's output in its place.
std::map<std::size_t, std::size_t> clips_of(const Recording& recording) {
  std::map<std::size_t, int> readers;
  std::map<std::size_t, std::size_t> clips;
  for (const Operation& operation : recording.operations) {
    for (const Argument& argument : operation.arguments) {
      if (const auto* value = std::get_if<ValueNumber>(&argument)) ++readers[value->number];
    }
    if (is_clip(operation)) clips[operation.value(0)] = operation.outputs.at(0);
  }
  std::erase_if(clips, [&](const auto& clip) { return readers[clip.first] != 1; });
  return clips;
}

class Quantiser {
 public:
  Quantiser(OnnxGraph& graph, const Recording& recording, const Rounding& rounding)
      : graph_(graph), recording_(recording), ranges_(rounding.ranges), exact_(rounding.exact) {}

  void run() {
    for (const std::size_t number : products(recording_)) {
      const Operation& operation = recording_.operations[number];
      if (!exact_.contains(number)) take(operation, *product_of(recording_, operation));
    }
    std::map<std::string, std::string> replaced;
    for (const auto& [value, range] : ranges_) {
      const std::string name = name_of(value);
      if (value == recording_.input) replaced[name] = name + "_rounded";
      if (std::ranges::any_of(graph_.proto().node(), [&](const onnx::NodeProto& node) {
            return std::ranges::find(node.output(), name) != node.output().end();
          }))
        replaced[name] = name + "_rounded";
    }
    // Whoever reads a value reads it rounded.
    for (onnx::NodeProto& node : *graph_.proto().mutable_node()) {
      for (std::string& input : *node.mutable_input()) {
        if (const auto found = replaced.find(input); found != replaced.end()) input = found->second;
      }
    }
    for (const auto& [value, range] : ranges_) {
      if (replaced.contains(name_of(value))) add_rounding(name_of(value), scale_of(range));
    }
    sort();
    drop_unused();
  }

 private:
  std::string name_of(std::size_t value) {
    return value == recording_.input ? graph_.proto().input(0).name() : value_name(value);
  }

  void take(const Operation& operation, const Product& product) {
    const std::size_t weight_value = operation.value(product.weight);
    const at::Tensor weight = recording_.values[weight_value].constant->to(at::kFloat);
    const at::Tensor scales = weight_scales(weight, product.channels);
    const std::string weight_name = value_name(weight_value);
    if (done_.insert(weight_name).second) {
      const std::string stored = graph_.constant(integers(weight, scales, product.channels), weight_name + "_int8");
      const std::string zeros = graph_.constant(at::zeros({scales.numel()}, at::kChar));
      graph_.add_node("DequantizeLinear", {stored, graph_.constant(scales), zeros}, {weight_name + "_rounded"},
                      {{"axis", product.channels}});
    }
    rename(operation, weight_name, weight_name + "_rounded");
    if (!operation.has(product.bias)) return;
    const std::size_t bias_value = operation.value(product.bias);
    const auto& bias = recording_.values[bias_value].constant;
    const auto input = ranges_.find(operation.value(product.input));
    if (!bias || input == ranges_.end()) return;
    const std::string bias_name = value_name(bias_value);
    const std::string rounded_name = fmt::format("{}_rounded_{}", bias_name, operation.outputs.at(0));
    const at::Tensor bias_scales = scales * scale_of(input->second).scale;
    constexpr double kMostInt32 = 2147483000;  // that a float32 holds without passing int32
    const at::Tensor stored = (bias->to(at::kDouble) / bias_scales.to(at::kDouble)).round();
    // Of channels whose weights are next to nothing, the bias is all there is: it stays as it is then.
    if (stored.abs().max().item<double>() > kMostInt32) return;
    graph_.add_node("DequantizeLinear", {graph_.constant(stored.to(at::kInt)), graph_.constant(bias_scales)},
                    {rounded_name}, {{"axis", std::int64_t{0}}});
    rename(operation, bias_name, rounded_name);
  }

  // The operation's node reads another name.
  void rename(const Operation& operation, const std::string& before, const std::string& after) {
    const std::string output = value_name(operation.outputs.at(0));
    for (onnx::NodeProto& node : *graph_.proto().mutable_node()) {
      if (node.output_size() == 0 || node.output(0) != output) continue;
      for (std::string& input : *node.mutable_input()) {
        if (input == before) input = after;
      }
    }
  }

  void add_rounding(const std::string& value, const Scale& scale) {
    const std::string step = graph_.scalar(scale.scale);
    const std::string zero = graph_.constant(at::scalar_tensor(scale.zero, at::kByte));
    const std::string stored = graph_.add("QuantizeLinear", {value, step, zero}, {}, value + "_uint8");
    graph_.add_node("DequantizeLinear", {stored, step, zero}, {value + "_rounded"}, {});
  }

  // Nodes after those whose outputs they read, as ONNX demands, and otherwise in their order.
  void sort() {
    std::set<std::string> known;
    for (const onnx::ValueInfoProto& input : graph_.proto().input()) known.insert(input.name());
    for (const onnx::TensorProto& constant : graph_.proto().initializer()) known.insert(constant.name());
    std::vector<onnx::NodeProto> waiting(graph_.proto().node().begin(), graph_.proto().node().end());
    graph_.proto().clear_node();
    while (!waiting.empty()) {
      std::vector<onnx::NodeProto> later;
      for (onnx::NodeProto& node : waiting) {
        const bool is_ready = std::ranges::all_of(
            node.input(), [&](const std::string& input) { return input.empty() || known.contains(input); });
        if (!is_ready) {
          later.push_back(std::move(node));
          continue;
        }
        known.insert(node.output().begin(), node.output().end());
        *graph_.proto().add_node() = std::move(node);
      }
      waiting = std::move(later);
    }
  }

  // Weights that only stood for their integers.
  void drop_unused() {
    std::set<std::string> read;
    for (const onnx::NodeProto& node : graph_.proto().node()) read.insert(node.input().begin(), node.input().end());
    auto& constants = *graph_.proto().mutable_initializer();
    constants.erase(std::remove_if(constants.begin(), constants.end(),
                                   [&](const onnx::TensorProto& each) { return !read.contains(each.name()); }),
                    constants.end());
  }

  OnnxGraph& graph_;
  const Recording& recording_;
  const Ranges& ranges_;
  const std::set<std::size_t>& exact_;
  std::set<std::string> done_;
};

}  // namespace

std::vector<std::size_t> products(const Recording& recording) {
  std::vector<std::size_t> numbers;
  for (std::size_t i = 0; i < recording.operations.size(); ++i) {
    if (product_of(recording, recording.operations[i])) numbers.push_back(i);
  }
  return numbers;
}

std::set<std::size_t> rounded_values(const Recording& recording, const std::set<std::size_t>& exact) {
  std::set<std::size_t> values;
  const std::map<std::size_t, std::size_t> clips = clips_of(recording);
  for (const std::size_t number : products(recording)) {
    if (exact.contains(number)) continue;
    const Operation& operation = recording.operations[number];
    const auto product = product_of(recording, operation);
    if (recording.values[operation.value(product->input)].type == at::kFloat)
      values.insert(operation.value(product->input));
    const std::size_t output = operation.outputs.at(0);
    const auto clip = clips.find(output);
    values.insert(clip == clips.end() ? output : clip->second);
  }
  // Logits are added up and compared: they stay as they are.
  for (const Operation& operation : recording.operations) {
    if (operation.name == "softmax") values.erase(operation.value(0));
  }
  return values;
}

void RangeMeter::see(std::size_t value, const at::Tensor& tensor) {
  if (!wanted_.contains(value)) return;
  Range& range = ranges_[value];
  range.low = std::min(range.low, tensor.min().item<double>());
  range.high = std::max(range.high, tensor.max().item<double>());
}

at::Tensor RangeMeter::reach() const {
  std::vector<double> numbers;
  for (const std::size_t value : wanted_) {
    const auto range = ranges_.find(value);
    numbers.push_back(range == ranges_.end() ? 0 : -range->second.low);
    numbers.push_back(range == ranges_.end() ? 0 : range->second.high);
  }
  return at::tensor(at::ArrayRef<double>(numbers), at::kDouble);
}

Ranges RangeMeter::ranges(const at::Tensor& reach) const {
  Ranges ranges;
  const double* number = reach.const_data_ptr<double>();
  for (const std::size_t value : wanted_) {
    ranges[value].low = -*number++;
    ranges[value].high = *number++;
  }
  return ranges;
}

Rounding rounding_of(const Recording& recording, const Ranges& ranges, std::set<std::size_t> exact) {
  Rounding rounding{.ranges = {}, .exact = std::move(exact)};
  for (const std::size_t value : rounded_values(recording, rounding.exact)) rounding.ranges[value] = ranges.at(value);
  return rounding;
}

at::Tensor rounded(const Recording& recording, const Rounding& rounding, std::size_t value, const at::Tensor& tensor) {
  if (const auto range = rounding.ranges.find(value); range != rounding.ranges.end()) {
    const Scale scale = scale_of(range->second);
    return at::fake_quantize_per_tensor_affine(tensor.contiguous(), scale.scale, scale.zero, 0, 255);
  }
  if (!recording.values[value].constant) return tensor;
  for (const std::size_t number : products(recording)) {
    const Operation& operation = recording.operations[number];
    const auto product = product_of(recording, operation);
    if (rounding.exact.contains(number) || operation.value(product->weight) != value) continue;
    const at::Tensor scales = weight_scales(tensor, product->channels);
    return integers(tensor, scales, product->channels).to(at::kFloat) * along(scales, tensor.dim(), product->channels);
  }
  return tensor;
}

void quantise(OnnxGraph& graph, const Recording& recording, const Rounding& rounding) {
  Quantiser(graph, recording, rounding).run();
}

}  // namespace cskd::exporting
