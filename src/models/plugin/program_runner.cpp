#include "models/plugin/program_runner.h"

#include <utility>

#include <c10/core/GradMode.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include "models/strided_kernel.h"
#include "runtime/check.h"

namespace cskd::models {
namespace {

std::int64_t whole(const WholeNumber& number, const std::vector<c10::IValue>& values) {
  if (const auto* const constant = std::get_if<std::int64_t>(&number)) return *constant;
  return values[static_cast<std::size_t>(std::get<Symbol>(number).value)].toInt();
}

std::int64_t floor_quotient(std::int64_t a, std::int64_t b) {
  TORCH_CHECK(b != 0, "division of a size by zero");
  return a / b - ((a % b != 0 && (a < 0) != (b < 0)) ? 1 : 0);
}

std::int64_t computed(Call::Number number, std::int64_t a, std::int64_t b) {
  std::int64_t result = 0;
  bool overflows = false;
  switch (number) {
    case Call::Number::kAdd:
      overflows = __builtin_add_overflow(a, b, &result);
      break;
    case Call::Number::kSubtract:
      overflows = __builtin_sub_overflow(a, b, &result);
      break;
    case Call::Number::kMultiply:
      overflows = __builtin_mul_overflow(a, b, &result);
      break;
    case Call::Number::kNegate:
      overflows = __builtin_sub_overflow(std::int64_t{0}, a, &result);
      break;
    case Call::Number::kFloorDivide:
      result = floor_quotient(a, b);
      break;
    case Call::Number::kModulo:
      result = a - b * floor_quotient(a, b);
      break;
    case Call::Number::kNone:
      break;
  }
  TORCH_CHECK(!overflows, "a size overflows");
  return result;
}

bool lies_channels_last(const at::Tensor& tensor) {
  return tensor.suggest_memory_format() == at::MemoryFormat::ChannelsLast;
}

// Note [Strided kernels of 1 x 1]. In the exported layout nothing has to be changed, and no bit is.
void keep_gradient_safe(c10::Stack& convolution) {
  if (!lies_channels_last(convolution[0].toTensor()) && !lies_channels_last(convolution[1].toTensor())) return;
  const std::vector<std::int64_t> stride = convolution[3].toIntVector();
  constexpr std::size_t kTransposed = 6;
  if (convolution[kTransposed].isBool() && convolution[kTransposed].toBool()) return;
  if (!has_unsafe_gradient(convolution[1].toTensor(), stride, convolution[4].toIntVector())) return;
  convolution[0] = read_by_stride(convolution[0].toTensor(), stride);
  convolution[3] = std::vector<std::int64_t>(stride.size(), 1);
}

}  // namespace

void ProgramRunner::compute(const Call& call, std::vector<c10::IValue>& values, const at::Device& device,
                            bool is_training) {
  if (!call.op) {
    const std::vector<WholeNumber>& operands = call.sizes.front().sizes;
    values[static_cast<std::size_t>(call.outputs.front().values.front())] =
        computed(call.number, whole(operands.front(), values), whole(operands.back(), values));
    return;
  }
  stack_.assign(call.arguments.begin(), call.arguments.end());
  for (const Call::Tensors& filled : call.tensors) {
    c10::IValue& argument = stack_[filled.argument];
    if (!filled.is_list) {
      argument = values[static_cast<std::size_t>(*filled.values.front())];
    } else if (filled.takes_none) {
      c10::List<std::optional<at::Tensor>> list;
      for (const std::optional<Value>& value : filled.values)
        list.push_back(value ? std::optional(values[static_cast<std::size_t>(*value)].toTensor()) : std::nullopt);
      argument = std::move(list);
    } else {
      c10::List<at::Tensor> list;
      for (const std::optional<Value>& value : filled.values)
        list.push_back(values[static_cast<std::size_t>(*value)].toTensor());
      argument = std::move(list);
    }
  }
  for (const Call::Sizes& filled : call.sizes) {
    if (!filled.is_list) {
      stack_[filled.argument] = whole(filled.sizes.front(), values);
      continue;
    }
    std::vector<std::int64_t> numbers;
    numbers.reserve(filled.sizes.size());
    for (const WholeNumber& number : filled.sizes) numbers.push_back(whole(number, values));
    stack_[filled.argument] = std::move(numbers);
  }
  for (const std::size_t place : call.devices) stack_[place] = device;
  if (call.training) stack_[*call.training] = is_training;
  if (call.is_convolution && c10::GradMode::is_enabled()) keep_gradient_safe(stack_);
  call.op->callBoxed(stack_);
  for (std::size_t i = 0; i < call.outputs.size(); ++i) {
    const Node::Output& output = call.outputs[i];
    if (output.is_list) {
      const std::vector<at::Tensor> list = stack_[i].toTensorVector();
      TORCH_CHECK(list.size() == output.values.size(), call.name, " returns ", list.size(), " tensors, where the ",
                  "program expects ", output.values.size());
      for (std::size_t k = 0; k < list.size(); ++k) values[static_cast<std::size_t>(output.values[k])] = list[k];
    } else if (!output.values.empty()) {
      values[static_cast<std::size_t>(output.values.front())] = std::move(stack_[i]);
    }
  }
  stack_.clear();
}

void ProgramRunner::set_program(PreparedProgram program) {
  program_ = std::move(program);
  fixed_on_.reset();
}

void ProgramRunner::compute_fixed(const std::vector<c10::IValue>& inputs, const at::Device& device) {
  // What inference made could not be used in training.
  const c10::InferenceMode no_inference(false);
  const c10::NoGradGuard no_gradients;
  const c10::impl::ExcludeDispatchKeyGuard no_casts(c10::autocast_dispatch_keyset);
  fixed_ = inputs;
  for (const Call& call : program_.calls)
    if (call.is_fixed) compute(call, fixed_, device, false);
  for (const Input& input : program_.inputs) fixed_[static_cast<std::size_t>(input.value)] = {};
  fixed_on_ = device;
}

std::vector<at::Tensor> ProgramRunner::run(const at::Tensor& images, std::span<const at::Tensor> inputs,
                                           bool is_training) {
  CSKD_CHECK(inputs.size() == program_.inputs.size(), "{} inputs of {}", inputs.size(), program_.inputs.size());
  const at::Device device = images.device();
  std::vector<c10::IValue> given(static_cast<std::size_t>(program_.values));
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const Input& input = program_.inputs[i];
    given[static_cast<std::size_t>(input.value)] = input.kind == InputKind::kImages ? images : inputs[i];
  }
  if (fixed_on_ != device) compute_fixed(given, device);
  std::vector<c10::IValue> values = fixed_;
  for (const Input& input : program_.inputs) {
    const auto at = static_cast<std::size_t>(input.value);
    values[at] = std::move(given[at]);
  }
  for (const Call& call : program_.calls) {
    if (call.is_fixed) continue;
    compute(call, values, device, is_training);
    for (const Value value : call.dead) values[static_cast<std::size_t>(value)] = {};
  }
  std::vector<at::Tensor> outputs;
  for (const Value value : program_.outputs) outputs.push_back(values[static_cast<std::size_t>(value)].toTensor());
  return outputs;
}

}  // namespace cskd::models
