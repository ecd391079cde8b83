#include "models/plugin/inference_form.h"

#include <algorithm>
#include <map>
#include <optional>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>

#include "models/packable_linear.h"

namespace cskd::models {
namespace {

// Places of arguments in the schemas of aten::conv2d and aten::batch_norm.
constexpr std::size_t kWeight = 1;
constexpr std::size_t kBias = 2;
constexpr std::size_t kMean = 3;
constexpr std::size_t kVariance = 4;
constexpr std::size_t kTraining = 5;
constexpr std::size_t kEpsilon = 7;
// Of mkldnn::_linear_pointwise: x, weight and bias as in aten::linear, then these.
constexpr std::size_t kActivation = 3;
constexpr std::size_t kAlgorithm = 5;

class Folding {
 public:
  Folding(PreparedProgram& program, std::vector<at::Tensor>& inputs) : program_(program), inputs_(inputs) {
    for (std::size_t i = 0; i < program.inputs.size(); ++i) place_of_[program.inputs[i].value] = i;
    for (const Call& call : program.calls)
      for (const Value value : read_values(call)) ++readers_[value];
    for (const Value value : program.outputs) ++readers_[value];
  }

  void run() {
    std::map<Value, std::size_t> convolutions;  // by their result
    std::vector<bool> is_gone(program_.calls.size(), false);
    for (std::size_t i = 0; i < program_.calls.size(); ++i) {
      Call& call = program_.calls[i];
      if (call.name == "aten::conv2d") {
        convolutions[call.outputs.front().values.front()] = i;
      } else if (call.name == "aten::batch_norm") {
        const std::optional<Value> source = tensor(call, 0);
        const auto found = source ? convolutions.find(*source) : convolutions.end();
        if (found != convolutions.end() && readers_[*source] == 1)
          is_gone[i] = fold(program_.calls[found->second], call);
      }
    }
    remove(is_gone);
  }

  // Whether any product was packed.
  bool pack() {
    static const c10::OperatorHandle multiply =
        c10::Dispatcher::singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", "");
    std::map<Value, std::size_t> products;  // by their result
    std::vector<bool> is_gone(program_.calls.size(), false);
    for (std::size_t i = 0; i < program_.calls.size(); ++i) {
      Call& call = program_.calls[i];
      if (call.name == "aten::linear") {
        const auto weight = given(call, kWeight);
        if (call.is_fixed || !weight || !weight->defined() || weight->dim() != 2) continue;
        const at::Tensor packed = packed_weight(*weight);
        if (!packed.defined()) continue;
        set(call, kWeight, packed);
        call.op = multiply;
        call.arguments.resize(kActivation);
        const c10::IValue no_numbers = c10::impl::GenericList(c10::OptionalType::create(c10::NumberType::get()));
        for (const c10::IValue& argument : {c10::IValue("none"), no_numbers, c10::IValue("none")})
          call.arguments.push_back(argument);
        products[call.outputs.front().values.front()] = i;
      } else if (call.name == "aten::gelu") {
        const std::optional<Value> source = tensor(call, 0);
        const auto found = source ? products.find(*source) : products.end();
        if (found == products.end() || readers_[*source] != 1) continue;
        Call& product = program_.calls[found->second];
        product.arguments[kActivation] = "gelu";
        product.arguments[kAlgorithm] = call.arguments[1];
        product.outputs = call.outputs;
        is_gone[i] = true;
      }
    }
    remove(is_gone);
    return !products.empty();
  }

 private:
  void remove(const std::vector<bool>& is_gone) {
    std::vector<Call> calls;
    for (std::size_t i = 0; i < program_.calls.size(); ++i)
      if (!is_gone[i]) calls.push_back(std::move(program_.calls[i]));
    program_.calls = std::move(calls);
  }

  // The value that is filled in there; none where there is another argument.
  static std::optional<Value> tensor(const Call& call, std::size_t argument) {
    const auto found = std::ranges::find(call.tensors, argument, &Call::Tensors::argument);
    if (found == call.tensors.end() || found->is_list) return std::nullopt;
    return found->values.front();
  }

  // Of a parameter or buffer; undefined where the argument is not given; none where it is something computed.
  std::optional<at::Tensor> given(const Call& call, std::size_t argument) const {
    const std::optional<Value> value = tensor(call, argument);
    if (!value) return at::Tensor();
    const auto found = place_of_.find(*value);
    if (found == place_of_.end() || !inputs_[found->second].defined()) return std::nullopt;
    return inputs_[found->second];
  }

  void set(Call& call, std::size_t argument, const at::Tensor& folded) {
    const Value value = program_.values++;
    program_.inputs.push_back({.kind = InputKind::kConstant,
                               .name = "",
                               .value = value,
                               .type = folded.scalar_type(),
                               .shape = folded.sizes().vec()});
    inputs_.push_back(folded);
    const auto found = std::ranges::find(call.tensors, argument, &Call::Tensors::argument);
    if (found != call.tensors.end()) {
      found->values = {value};
    } else {
      call.tensors.push_back({.argument = argument, .values = {value}});
    }
  }

  bool fold(Call& convolution, const Call& norm) {
    const auto weight = given(convolution, kWeight);
    const auto bias = given(convolution, kBias);
    const auto scale = given(norm, kWeight);
    const auto shift = given(norm, kBias);
    const auto mean = given(norm, kMean);
    const auto variance = given(norm, kVariance);
    const bool is_known = weight && bias && scale && shift && mean && variance && mean->defined() &&
                          variance->defined() && norm.training == kTraining;
    if (!is_known) return false;
    at::Tensor factor = (variance->to(at::kDouble) + norm.arguments[kEpsilon].toDouble()).rsqrt();
    if (scale->defined()) factor = factor * *scale;
    at::Tensor offset = -mean->to(at::kDouble) * factor;
    if (bias->defined()) offset = offset + *bias * factor;
    if (shift->defined()) offset = offset + *shift;
    set(convolution, kWeight, (weight->to(at::kDouble) * factor.view({-1, 1, 1, 1})).to(weight->scalar_type()));
    set(convolution, kBias, offset.to(weight->scalar_type()));
    convolution.outputs = norm.outputs;
    return true;
  }

  PreparedProgram& program_;
  std::vector<at::Tensor>& inputs_;
  std::map<Value, std::size_t> place_of_;
  std::map<Value, int> readers_;
};

}  // namespace

void take_inference_form(PreparedProgram& program, std::vector<at::Tensor>& inputs) {
  const c10::InferenceMode no_inference(false);
  const c10::NoGradGuard no_gradients;
  Folding(program, inputs).run();
  for (Call& call : program.calls)
    if (call.fresh) call.op = call.fresh;
  let_go(program);
}

bool pack_products(PreparedProgram& program, std::vector<at::Tensor>& inputs) {
  const c10::InferenceMode no_inference(false);
  const c10::NoGradGuard no_gradients;
  if (!Folding(program, inputs).pack()) return false;
  let_go(program);
  return true;
}

}  // namespace cskd::models
