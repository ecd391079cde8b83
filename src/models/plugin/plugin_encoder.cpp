#include "models/plugin/plugin_encoder.h"

#include <algorithm>
#include <array>
#include <set>
#include <string_view>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <torch/types.h>

#include "models/packable_linear.h"
#include "models/plugin/inference_form.h"
#include "models/safetensors_header.h"
#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::models {
namespace {

std::string last_part(const std::string& name) { return name.substr(name.rfind('.') + 1); }

}  // namespace

PluginEncoder::PluginEncoder(EncoderShape shape, const PreparedProgram& program,
                             const std::map<std::string, torch::Tensor>& constants, const PluginOutputs& outputs,
                             const std::string& origin)
    : Encoder(std::move(shape)), runner_(program), outputs_(outputs) {
  std::set<std::string> seen;
  for (const Input& input : program.inputs) {
    if (input.kind == InputKind::kImages) {
      inputs_.emplace_back();
      continue;
    }
    if (!seen.insert(input.name).second)
      throw runtime::DataError(fmt::format("{}: two inputs are named {}", origin, shown(input.name)));
    torch::nn::Module& parent = parent_of(input.name, origin);
    const std::string last = last_part(input.name);
    const torch::Tensor tensor = torch::empty(input.shape, input.type);
    if (input.kind == InputKind::kParameter) {
      if (input.type != torch::kFloat)
        throw runtime::DataError(fmt::format("{}: parameter {} is not in float32", origin, shown(input.name)));
      inputs_.push_back(parent.register_parameter(last, tensor));
      continue;
    }
    if (std::ranges::find(program.statistics, input.name) == program.statistics.end() && !is_statistic(input.name)) {
      const auto constant = constants.find(input.name);
      if (constant == constants.end() || constant->second.sizes() != tensor.sizes() ||
          constant->second.scalar_type() != input.type) {
        throw runtime::DataError(fmt::format("{}: the values of buffer {} are missing, or of another shape or type",
                                             origin, shown(input.name)));
      }
      if (!tensor.is_meta()) tensor.copy_(constant->second);
    }
    inputs_.push_back(parent.register_buffer(last, tensor));
  }
  draw();
}

torch::nn::Module& PluginEncoder::parent_of(const std::string& name, const std::string& origin) {
  constexpr std::size_t kLongestName = 512;
  constexpr std::size_t kDeepest = 64;
  torch::nn::Module* module = this;
  std::size_t depth = 0;
  std::size_t begin = 0;
  for (std::size_t dot = name.find('.'); dot != std::string::npos; begin = dot + 1, dot = name.find('.', begin)) {
    const std::string part = name.substr(begin, dot - begin);
    if (part.empty() || ++depth > kDeepest) break;
    const auto children = module->named_children();
    module = children.contains(part) ? children[part].get()
                                     : module->register_module(part, std::make_shared<torch::nn::Module>(part)).get();
  }
  const std::string last = name.substr(begin);
  constexpr std::array<std::string_view, 4> kReserved{"plugin", "projector", "score_head", "token_projector"};
  if (std::ranges::find(kReserved, name.substr(0, name.find('.'))) != kReserved.end()) {
    throw runtime::DataError(fmt::format(
        "{}: {} has a name that cskd gives to parts of its own; rename this part of the model", origin, shown(name)));
  }
  if (last.empty() || last.find('.') != std::string::npos || name.size() > kLongestName || depth > kDeepest)
    throw runtime::DataError(fmt::format("{}: no parameter or buffer can be named {}", origin, shown(name)));
  return *module;
}

// As layers mostly start. A plug-in comes with weights, so that this is for measurements of time.
void PluginEncoder::draw() {
  const torch::NoGradGuard no_gradients;
  for (const auto& item : named_parameters()) {
    torch::Tensor tensor = item.value();
    if (tensor.dim() > 1) {
      tensor.normal_(0, 0.02);
    } else {
      tensor.fill_(last_part(item.key()) == "weight" ? 1 : 0);
    }
  }
  for (const auto& item : named_buffers()) {
    torch::Tensor tensor = item.value();
    if (is_statistic(item.key())) tensor.fill_(item.key().ends_with("running_var") ? 1 : 0);
  }
}

void PluginEncoder::require_shape(const torch::Tensor& result, std::int64_t batch, std::size_t output) const {
  std::vector<std::int64_t> expected = runner_.program().output_shapes[output];
  expected.insert(expected.begin(), batch);
  if (result.sizes() == expected) return;
  throw runtime::DataError(fmt::format("output {} of {} has the shape [{}], where its file says [{}]", output,
                                       shape().name, fmt::join(result.sizes(), ", "), fmt::join(expected, ", ")));
}

void PluginEncoder::fold() {
  PreparedProgram program = runner_.program();
  take_inference_form(program, inputs_);
  PreparedProgram packed = program;
  packed_inputs_ = inputs_;
  packed_runner_.reset();
  if (pack_products(packed, packed_inputs_)) packed_runner_.emplace(std::move(packed));
  runner_.set_program(std::move(program));
  is_folded_ = true;
}

Features PluginEncoder::forward(const torch::Tensor& images, const Request& request) {
  require(images, request);
  CSKD_CHECK(!is_folded_ || !is_training(), "{} is folded for inference", shape().name);
  const std::vector<torch::Tensor> results = packed_runner_ && packed_weights_serve(images)
                                                 ? packed_runner_->run(images, packed_inputs_, is_training())
                                                 : runner_.run(images, inputs_, is_training());
  for (std::size_t i = 0; i < results.size(); ++i) require_shape(results[i], images.size(0), i);
  Features features;
  torch::Tensor tokens;
  if (outputs_.tokens && (request.tokens || !outputs_.pooled)) {
    tokens = results[static_cast<std::size_t>(*outputs_.tokens)];
    switch (outputs_.form) {
      case TokenForm::kSequence:
        tokens = tokens.slice(1, outputs_.skipped_tokens);
        break;
      case TokenForm::kChannelsFirst:
        tokens = tokens.flatten(2).transpose(1, 2);
        break;
      case TokenForm::kChannelsLast:
        tokens = tokens.flatten(1, 2);
        break;
    }
  }
  CSKD_CHECK(!request.tokens || tokens.defined(), "{} has no tokens", shape().name);
  features.pooled = outputs_.pooled ? results[static_cast<std::size_t>(*outputs_.pooled)] : tokens.mean(1);
  if (request.tokens) features.tokens = tokens;
  return features;
}

}  // namespace cskd::models
