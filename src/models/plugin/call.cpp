#include "models/plugin/call.h"

#include <algorithm>
#include <map>
#include <string_view>
#include <utility>
#include <variant>

#include <ATen/ops/scalar_tensor.h>
#include <fmt/format.h>

#include "models/safetensors_header.h"

namespace cskd::models {
namespace {

std::optional<Call::Number> number_operator(std::string_view target) {
  static const std::map<std::string_view, Call::Number> operators{
      {"_operator.add", Call::Number::kAdd},      {"_operator.sub", Call::Number::kSubtract},
      {"_operator.mul", Call::Number::kMultiply}, {"_operator.floordiv", Call::Number::kFloorDivide},
      {"_operator.mod", Call::Number::kModulo},   {"_operator.neg", Call::Number::kNegate}};
  const auto found = operators.find(target);
  if (found == operators.end()) return std::nullopt;
  return found->second;
}

class CallMaker {
 public:
  explicit CallMaker(const std::string& origin) : origin_(origin) {}

  Call make(const Operation& operation) const {
    Call call;
    call.outputs = operation.node.outputs;
    if (operation.rule == nullptr) {
      fill_numbers(call, operation.node);
      return call;
    }
    call.name = fmt::format("aten::{}", operation.rule->name);
    call.op = c10::Dispatcher::singleton().findSchema({call.name, operation.overload});
    if (!call.op) {
      throw unusable_program(
          origin_, fmt::format("LibTorch has no operator {} with overload '{}'", call.name, operation.overload));
    }
    if (operation.was_in_place && operation.rule->kind == OperatorKind::kInPlace)
      call.fresh =
          c10::Dispatcher::singleton().findSchema({call.name.substr(0, call.name.size() - 1), operation.overload});
    call.is_convolution =
        operation.overload.empty() && (call.name == "aten::conv2d" || call.name == "aten::convolution");
    const c10::FunctionSchema& schema = call.op->schema();
    if (operation.node.outputs.size() != schema.returns().size())
      throw unusable_program(origin_, fmt::format("{} returns {} results", call.name, schema.returns().size()));
    for (std::size_t i = 0; i < schema.returns().size(); ++i) {
      const bool is_list = schema.returns()[i].type()->kind() == c10::TypeKind::ListType;
      if (is_list != operation.node.outputs[i].is_list)
        throw unusable_program(origin_, fmt::format("{} returns no such result", call.name));
    }
    std::size_t used = 0;
    for (const c10::Argument& wanted : schema.arguments()) {
      const Argument* const given = find_argument(operation.node, wanted.name());
      if (given != nullptr) {
        ++used;
        set(call, wanted, given->value, operation.rule->kind);
      } else if (wanted.default_value()) {
        call.arguments.push_back(*wanted.default_value());
      } else {
        throw unusable_program(origin_, fmt::format("{} lacks its argument '{}'", call.name, wanted.name()));
      }
    }
    if (used != operation.node.arguments.size())
      throw unusable_program(origin_, fmt::format("{} has arguments that it does not take, or one twice", call.name));
    return call;
  }

 private:
  void fill_numbers(Call& call, const Node& node) const {
    call.name = node.target;
    const std::optional<Call::Number> number = number_operator(node.target);
    if (!number)
      throw unusable_program(origin_, fmt::format("{} of whole numbers is not computed", shown(node.target)));
    call.number = *number;
    Call::Sizes sizes{.sizes = {}, .is_list = true};
    for (const Argument& argument : node.arguments) {
      if (const auto* const whole = std::get_if<std::int64_t>(&argument.value)) {
        sizes.sizes.emplace_back(*whole);
      } else if (const auto* const symbol = std::get_if<Symbol>(&argument.value)) {
        sizes.sizes.emplace_back(*symbol);
      } else {
        throw unusable_program(origin_, fmt::format("{} of something else than whole numbers", call.name));
      }
    }
    const std::size_t wanted = call.number == Call::Number::kNegate ? 1 : 2;
    if (sizes.sizes.size() != wanted || made_values(node).size() != 1)
      throw unusable_program(origin_, fmt::format("{} takes {} numbers and returns one", call.name, wanted));
    call.sizes.push_back(std::move(sizes));
  }

  [[noreturn]] void refuse(const Call& call, const c10::Argument& wanted) const {
    throw unusable_program(
        origin_, fmt::format("argument '{}' of {} must be of type {}", wanted.name(), call.name, wanted.type()->str()));
  }

  // Appends an argument.
  void set(Call& call, const c10::Argument& wanted, const ArgumentValue& value, OperatorKind kind) const {
    const std::size_t place = call.arguments.size();
    c10::TypePtr type = wanted.type();
    bool takes_none = type->kind() == c10::TypeKind::NoneType;
    if (const auto optional = type->cast<c10::OptionalType>()) {
      takes_none = true;
      type = optional->getElementType();
    }
    if (std::holds_alternative<NoValue>(value)) {
      if (!takes_none) refuse(call, wanted);
      call.arguments.emplace_back();
      return;
    }
    const bool is_mode = (kind == OperatorKind::kDropout && wanted.name() == "train") ||
                         (kind == OperatorKind::kBatchNorm && wanted.name() == "training" &&
                          std::get_if<bool>(&value) != nullptr && !std::get<bool>(value));
    if (is_mode) call.training = place;
    switch (type->kind()) {
      case c10::TypeKind::TensorType: {
        if (const auto* const tensor = std::get_if<TensorValue>(&value)) {
          call.tensors.push_back({.argument = place, .values = {tensor->value}});
          call.arguments.emplace_back();
        } else {
          call.arguments.emplace_back(wrapped(call, wanted, value));
        }
        return;
      }
      case c10::TypeKind::IntType:
      case c10::TypeKind::SymIntType:
        return set_number(call, wanted, value);
      case c10::TypeKind::NumberType:
        if (const auto* const real = std::get_if<double>(&value)) return void(call.arguments.emplace_back(*real));
        if (const auto* const truth = std::get_if<bool>(&value)) return void(call.arguments.emplace_back(*truth));
        return set_number(call, wanted, value);
      case c10::TypeKind::FloatType:
        if (const auto* const real = std::get_if<double>(&value)) return void(call.arguments.emplace_back(*real));
        if (const auto* const whole = std::get_if<std::int64_t>(&value))
          return void(call.arguments.emplace_back(static_cast<double>(*whole)));
        refuse(call, wanted);
      case c10::TypeKind::BoolType:
        if (const auto* const truth = std::get_if<bool>(&value)) return void(call.arguments.emplace_back(*truth));
        refuse(call, wanted);
      case c10::TypeKind::StringType:
        if (const auto* const text = std::get_if<std::string>(&value)) return void(call.arguments.emplace_back(*text));
        refuse(call, wanted);
      case c10::TypeKind::DeviceObjType:
        if (!std::holds_alternative<OwnDevice>(value)) refuse(call, wanted);
        call.devices.push_back(place);
        call.arguments.emplace_back();
        return;
      case c10::TypeKind::ListType:
        return set_list(call, wanted, type->expectRef<c10::ListType>().getElementType(), value);
      default:
        refuse(call, wanted);
    }
  }

  // A number where a tensor is wanted: as Python passes it, without making the result wider.
  at::Tensor wrapped(const Call& call, const c10::Argument& wanted, const ArgumentValue& value) const {
    at::Tensor tensor;
    if (const auto* const whole = std::get_if<std::int64_t>(&value)) {
      tensor = at::scalar_tensor(*whole, at::kLong);
    } else if (const auto* const real = std::get_if<double>(&value)) {
      tensor = at::scalar_tensor(*real, at::kDouble);
    } else if (const auto* const truth = std::get_if<bool>(&value)) {
      tensor = at::scalar_tensor(*truth, at::kBool);
    } else {
      refuse(call, wanted);
    }
    tensor.unsafeGetTensorImpl()->set_wrapped_number(true);
    return tensor;
  }

  void set_number(Call& call, const c10::Argument& wanted, const ArgumentValue& value) const {
    if (const auto* const whole = std::get_if<std::int64_t>(&value)) {
      call.arguments.emplace_back(*whole);
    } else if (const auto* const symbol = std::get_if<Symbol>(&value)) {
      call.sizes.push_back({.argument = call.arguments.size(), .sizes = {*symbol}});
      call.arguments.emplace_back();
    } else if (const auto* const type = std::get_if<at::ScalarType>(&value)) {
      call.arguments.emplace_back(static_cast<std::int64_t>(*type));
    } else if (const auto* const layout = std::get_if<at::Layout>(&value)) {
      call.arguments.emplace_back(static_cast<std::int64_t>(*layout));
    } else if (const auto* const format = std::get_if<at::MemoryFormat>(&value)) {
      call.arguments.emplace_back(static_cast<std::int64_t>(*format));
    } else {
      refuse(call, wanted);
    }
  }

  void set_list(Call& call, const c10::Argument& wanted, const c10::TypePtr& element,
                const ArgumentValue& value) const {
    const std::size_t place = call.arguments.size();
    const bool is_optional = element->kind() == c10::TypeKind::OptionalType;
    const c10::TypeKind kind =
        is_optional ? element->expectRef<c10::OptionalType>().getElementType()->kind() : element->kind();
    // An empty list has no kind in the file.
    const auto* const sizes = std::get_if<std::vector<WholeNumber>>(&value);
    const bool is_empty = sizes != nullptr && sizes->empty();
    if (kind == c10::TypeKind::TensorType) {
      const auto* const list = std::get_if<TensorList>(&value);
      if (list == nullptr && !is_empty) refuse(call, wanted);
      const TensorList values = list == nullptr ? TensorList{} : *list;
      if (!is_optional && std::ranges::any_of(values, [](const auto& each) { return !each; })) refuse(call, wanted);
      call.tensors.push_back({.argument = place, .values = values, .is_list = true, .takes_none = is_optional});
      call.arguments.emplace_back();
    } else if (kind == c10::TypeKind::IntType || kind == c10::TypeKind::SymIntType) {
      std::vector<WholeNumber> numbers;
      if (sizes != nullptr) {
        numbers = *sizes;
      } else if (const auto* const one = std::get_if<std::int64_t>(&value); one != nullptr && wanted.N()) {
        numbers.assign(static_cast<std::size_t>(*wanted.N()), WholeNumber(*one));
      } else {
        refuse(call, wanted);
      }
      const bool is_constant = std::ranges::all_of(
          numbers, [](const WholeNumber& size) { return std::holds_alternative<std::int64_t>(size); });
      if (is_constant) {
        std::vector<std::int64_t> constant;
        for (const WholeNumber& size : numbers) constant.push_back(std::get<std::int64_t>(size));
        call.arguments.emplace_back(constant);
      } else {
        call.sizes.push_back({.argument = place, .sizes = numbers, .is_list = true});
        call.arguments.emplace_back();
      }
    } else if (kind == c10::TypeKind::FloatType) {
      const auto* const numbers = std::get_if<std::vector<double>>(&value);
      if (numbers == nullptr && !is_empty) refuse(call, wanted);
      call.arguments.emplace_back(numbers == nullptr ? std::vector<double>{} : *numbers);
    } else if (kind == c10::TypeKind::BoolType) {
      const auto* const truths = std::get_if<std::vector<bool>>(&value);
      if (truths == nullptr && !is_empty) refuse(call, wanted);
      c10::List<bool> list;
      if (truths != nullptr)
        for (const bool truth : *truths) list.push_back(truth);
      call.arguments.emplace_back(list);
    } else {
      refuse(call, wanted);
    }
  }

  const std::string& origin_;
};

}  // namespace

Call make_call(const Operation& operation, const std::string& origin) { return CallMaker(origin).make(operation); }

std::vector<Value> read_values(const Call& call) {
  std::vector<Value> values;
  for (const Call::Tensors& tensors : call.tensors)
    for (const std::optional<Value>& value : tensors.values)
      if (value) values.push_back(*value);
  for (const Call::Sizes& sizes : call.sizes)
    for (const WholeNumber& size : sizes.sizes)
      if (const auto* const symbol = std::get_if<Symbol>(&size)) values.push_back(symbol->value);
  return values;
}

}  // namespace cskd::models
