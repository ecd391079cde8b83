#include "export/recording.h"

#include <algorithm>
#include <map>
#include <set>
#include <type_traits>
#include <unordered_map>

#include <ATen/ATen.h>
#include <c10/core/GradMode.h>
#include <fmt/format.h>
#include <torch/csrc/jit/frontend/tracer.h>
#include <torch/csrc/jit/ir/ir.h>

#include "runtime/error.h"

namespace cskd::exporting {
namespace {

using torch::jit::Node;
using JitValue = torch::jit::Value;

constexpr std::int64_t kFewerImages = 2;

std::shared_ptr<torch::jit::Graph> traced(const Network& network, const at::Tensor& images) {
  const auto run = [&](const torch::jit::Stack& inputs) {
    torch::jit::Stack outputs;
    for (const at::Tensor& output : network(inputs.at(0).toTensor())) outputs.emplace_back(output);
    return outputs;
  };
  const auto nameless = [](const at::Tensor&) { return std::string(); };
  return torch::jit::tracer::trace({images}, run, nameless, /*strict=*/true, /*force_outplace=*/true).first->graph;
}

std::string name_of(const Node& node) { return node.kind().toUnqualString(); }

bool is_list_construct(const Node& node) { return node.kind() == c10::prim::ListConstruct; }
bool is_list_unpack(const Node& node) { return node.kind() == c10::prim::ListUnpack; }

// Whether its output has the numbers of its first input, in the same type, whatever their place in memory.
bool gives_its_input(const Node& node) {
  const std::string name = name_of(node);
  if (name == "contiguous" || name == "dropout" || name == "detach" || name == "clone" || name == "alias") return true;
  if (name != "to") return false;
  const auto type = [](const JitValue& value) { return value.type()->expect<c10::TensorType>()->scalarType(); };
  return type(*node.input(0)) == type(*node.output());
}

[[noreturn]] void refuse(const std::string& operation, const std::string& what) {
  throw runtime::DataError(fmt::format("the network cannot be exported: its operation '{}' {}", operation, what));
}

std::vector<std::int64_t> sizes_of(const JitValue& value) {
  const auto type = value.type()->cast<c10::TensorType>();
  const auto sizes = type ? type->sizes().concrete_sizes() : std::nullopt;
  if (!sizes) refuse(name_of(*value.node()), "has an output of unknown size");
  return *sizes;
}

// What the tracer's own node makes of its inputs.
c10::IValue listed(const Node& node, const torch::jit::Stack& elements) {
  const auto type = node.output()->type()->expect<c10::ListType>()->getElementType();
  c10::impl::GenericList list(type);
  for (const c10::IValue& element : elements) list.push_back(element);
  return list;
}

// Its results, in their order.
torch::jit::Stack computed(const Node& node, torch::jit::Stack inputs) {
  if (is_list_construct(node)) return {listed(node, inputs)};
  if (is_list_unpack(node)) {
    torch::jit::Stack parts;
    for (const c10::IValue& part : inputs.at(0).toListRef()) parts.push_back(part);
    return parts;
  }
  node.getOperation()(inputs);
  return inputs;
}

// Two recordings of the same network side by side.
class Comparison {
 public:
  Comparison(const Network& network, const at::Tensor& like) {
    const auto batch = [&](std::int64_t images) {
      std::vector<std::int64_t> sizes = like.sizes().vec();
      sizes.front() = images;
      return like.narrow(0, 0, 1).expand(sizes).clone();
    };
    network(batch(kFewerImages));  // what is computed once and kept comes before the recordings
    fewer_ = traced(network, batch(kFewerImages));
    more_ = traced(network, batch(kRecordedImages));
    walk();
  }

  Recording take() && {
    for (const JitValue* output : more_->outputs()) outputs_of(*output);
    keep_needed();
    recording_.compute = [graph = more_, seen = seen_](const at::Tensor& images, const Recording::Change& change) {
      return compute(*graph, seen, images, change);
    };
    return std::move(recording_);
  }

 private:
  using Seen = std::map<const JitValue*, std::size_t>;  // values of the longer recording by their number

  void walk() {
    recording_.input = add(*fewer_->inputs().at(0), *more_->inputs().at(0));
    auto fewer = fewer_->nodes().begin();
    for (Node* node : more_->nodes()) {
      if (fewer == fewer_->nodes().end() || fewer->kind() != node->kind() ||
          fewer->inputs().size() != node->inputs().size())
        refuse(name_of(*node), "is not done for every number of images");
      take_node(**fewer, *node);
      ++fewer;
    }
  }

  // A value of both recordings.
  std::size_t add(const JitValue& fewer, const JitValue& more) {
    Value value;
    value.type = more.type()->expect<c10::TensorType>()->scalarType().value_or(at::kFloat);
    const std::vector<std::int64_t> few = sizes_of(fewer);
    const std::vector<std::int64_t> many = sizes_of(more);
    for (std::size_t i = 0; i < many.size(); ++i) {
      if (i < few.size() && few[i] == many[i]) {
        value.shape.push_back({many[i], false});
      } else if (i < few.size() && few[i] * kRecordedImages == many[i] * kFewerImages) {
        value.shape.push_back({many[i] / kRecordedImages, true});
      } else {
        refuse(name_of(*more.node()), "has an output whose size is no multiple of the number of images");
      }
    }
    recording_.values.push_back(std::move(value));
    seen_[&more] = recording_.values.size() - 1;
    return recording_.values.size() - 1;
  }

  void take_node(const Node& fewer, const Node& node) {
    if (node.kind() == c10::prim::Constant) {
      constants_[node.output()] = *torch::jit::toIValue(node.output());
      return;
    }
    if (is_list_construct(node)) {
      if (is_constant(node)) constants_[node.output()] = listed(node, constants_of(node));
      return;
    }
    if (is_list_unpack(node) && !constants_.contains(node.input())) {
      // Of an operation that gives a list of tensors: they are its outputs.
      const auto giver = lists_.find(node.input());
      if (giver == lists_.end()) refuse(name_of(node), "takes apart what is no list of tensors");
      for (std::size_t i = 0; i < node.outputs().size(); ++i)
        recording_.operations[giver->second].outputs.push_back(add(*fewer.output(i), *node.output(i)));
      return;
    }
    if (is_constant(node) && compute_constant(fewer, node)) return;
    if (gives_its_input(node)) {
      seen_[node.output()] = number_of(*node.input(0));
      return;
    }
    Operation operation{.name = name_of(node), .arguments = {}, .outputs = {}};
    for (const JitValue* input : node.inputs()) operation.arguments.push_back(argument_of(*input));
    const bool gives_list = node.outputs().size() == 1 && node.output()->type()->kind() == c10::TypeKind::ListType;
    if (gives_list) {
      lists_[node.output()] = recording_.operations.size();
    } else {
      for (std::size_t i = 0; i < node.outputs().size(); ++i)
        operation.outputs.push_back(add(*fewer.output(i), *node.output(i)));
    }
    recording_.operations.push_back(std::move(operation));
  }

  bool is_constant(const Node& node) const {
    return std::ranges::all_of(node.inputs(), [&](const JitValue* input) { return constants_.contains(input); });
  }

  torch::jit::Stack constants_of(const Node& node) const {
    torch::jit::Stack stack;
    for (const JitValue* input : node.inputs()) stack.push_back(constants_.at(input));
    return stack;
  }

  // Whether the node's result is the same for every number of images; it is a constant then.
  bool compute_constant(const Node& fewer, const Node& node) {
    for (std::size_t i = 0; i < node.outputs().size(); ++i) {
      const JitValue& output = *node.output(i);
      if (output.type()->kind() != c10::TypeKind::TensorType) continue;
      if (sizes_of(output) != sizes_of(*fewer.output(i))) return false;
    }
    const c10::NoGradGuard no_gradients;
    const torch::jit::Stack results = computed(node, constants_of(node));
    for (std::size_t i = 0; i < node.outputs().size(); ++i) constants_[node.output(i)] = results.at(i);
    return true;
  }

  std::size_t number_of(const JitValue& value) {
    if (const auto seen = seen_.find(&value); seen != seen_.end()) return seen->second;
    const auto constant = constants_.find(&value);
    if (constant == constants_.end() || !constant->second.isTensor())
      refuse(name_of(*value.node()), "is not understood");
    const at::Tensor& tensor = constant->second.toTensor();
    Value kept{.shape = {}, .type = tensor.scalar_type(), .constant = tensor.detach().contiguous()};
    for (const std::int64_t size : tensor.sizes()) kept.shape.push_back({size, false});
    recording_.values.push_back(std::move(kept));
    seen_[&value] = recording_.values.size() - 1;
    return recording_.values.size() - 1;
  }

  Argument argument_of(const JitValue& input) {
    const auto constant = constants_.find(&input);
    if (constant == constants_.end()) {
      if (!is_list_construct(*input.node())) return ValueNumber{number_of(input)};
      if (input.type()->cast<c10::ListType>()->getElementType()->kind() != c10::TypeKind::TensorType)
        refuse(name_of(*input.node()), "makes a list of what depends on the images");
      std::vector<ValueNumber> list;
      for (const JitValue* element : input.node()->inputs()) list.push_back({number_of(*element)});
      return list;
    }
    const c10::IValue& value = constant->second;
    if (value.isTensor()) return ValueNumber{number_of(input)};
    if (value.isNone()) return std::monostate();
    if (value.isBool()) return value.toBool();
    if (value.isInt()) return value.toInt();
    if (value.isDouble()) return value.toDouble();
    if (value.isString()) return value.toStringRef();
    if (value.isIntList()) return value.toIntVector();
    if (value.isDoubleList()) return value.toDoubleVector();
    if (value.isBoolList()) {
      const auto list = value.toBoolList();
      return std::vector<bool>(list.begin(), list.end());
    }
    if (value.isTensorList()) {
      std::vector<ValueNumber> list;
      for (const JitValue* element : input.node()->inputs()) list.push_back({number_of(*element)});
      return list;
    }
    return std::monostate();  // a device, a generator: of no meaning to a file
  }

  void outputs_of(const JitValue& output) { recording_.outputs.push_back(number_of(output)); }

  void keep_needed() {
    std::set<std::size_t> needed(recording_.outputs.begin(), recording_.outputs.end());
    std::vector<Operation> kept;
    for (auto operation = recording_.operations.rbegin(); operation != recording_.operations.rend(); ++operation) {
      if (std::ranges::none_of(operation->outputs, [&](std::size_t value) { return needed.contains(value); })) continue;
      for (const Argument& argument : operation->arguments) {
        if (const auto* one = std::get_if<ValueNumber>(&argument)) needed.insert(one->number);
        if (const auto* list = std::get_if<std::vector<ValueNumber>>(&argument)) {
          for (const ValueNumber& each : *list) needed.insert(each.number);
        }
      }
      kept.push_back(std::move(*operation));
    }
    std::ranges::reverse(kept);
    recording_.operations = std::move(kept);
  }

  static std::vector<at::Tensor> compute(torch::jit::Graph& graph, const Seen& seen, const at::Tensor& images,
                                         const Recording::Change& change) {
    const c10::NoGradGuard no_gradients;
    std::unordered_map<const JitValue*, c10::IValue> values;
    const auto keep = [&](const JitValue* value, const c10::IValue& made) {
      const auto number = seen.find(value);
      const bool is_seen = number != seen.end() && made.isTensor();
      values[value] = is_seen ? c10::IValue(change(number->second, made.toTensor())) : made;
    };
    keep(graph.inputs().at(0), images);
    for (Node* node : graph.nodes()) {
      if (node->kind() == c10::prim::Constant) {
        keep(node->output(), *torch::jit::toIValue(node->output()));
        continue;
      }
      torch::jit::Stack stack;
      for (const JitValue* input : node->inputs()) stack.push_back(values.at(input));
      const torch::jit::Stack results = computed(*node, std::move(stack));
      for (std::size_t i = 0; i < node->outputs().size(); ++i) keep(node->output(i), results.at(i));
    }
    std::vector<at::Tensor> outputs;
    for (const JitValue* output : graph.outputs()) outputs.push_back(values.at(output).toTensor());
    return outputs;
  }

  std::shared_ptr<torch::jit::Graph> fewer_, more_;
  Recording recording_;
  Seen seen_;
  std::map<const JitValue*, c10::IValue> constants_;
  std::map<const JitValue*, std::size_t> lists_;  // operations that give a list of tensors
};

template <typename Kind>
const Kind& as(const Operation& operation, std::size_t argument) {
  if (argument < operation.arguments.size()) {
    if (const auto* found = std::get_if<Kind>(&operation.arguments[argument])) return *found;
  }
  refuse(operation.name, fmt::format("has an argument {} that is not understood", argument));
}

}  // namespace

bool Operation::has(std::size_t argument) const {
  return argument < arguments.size() && !std::holds_alternative<std::monostate>(arguments[argument]);
}

std::size_t Operation::value(std::size_t argument) const { return as<ValueNumber>(*this, argument).number; }

std::vector<std::size_t> Operation::values(std::size_t argument) const {
  std::vector<std::size_t> numbers;
  for (const ValueNumber& each : as<std::vector<ValueNumber>>(*this, argument)) numbers.push_back(each.number);
  return numbers;
}

std::int64_t Operation::integer(std::size_t argument) const { return as<std::int64_t>(*this, argument); }

double Operation::number(std::size_t argument) const {
  if (argument < arguments.size() && std::holds_alternative<std::int64_t>(arguments[argument]))
    return static_cast<double>(integer(argument));
  return as<double>(*this, argument);
}

bool Operation::truth(std::size_t argument) const { return as<bool>(*this, argument); }

std::vector<std::int64_t> Operation::integers(std::size_t argument) const {
  return as<std::vector<std::int64_t>>(*this, argument);
}

std::string Operation::text(std::size_t argument) const { return as<std::string>(*this, argument); }

std::size_t first_exact_operation(const Recording& recording) {
  for (std::size_t i = recording.operations.size(); i > 0; --i) {
    if (recording.operations[i - 1].name == "softmax") return i - 1;
  }
  return recording.operations.size();
}

double multiplications(const Recording& recording) {
  const auto numbers = [&](std::size_t value) {
    double count = 1;
    for (const Dimension& dimension : recording.values[value].shape) count *= static_cast<double>(dimension.size);
    return count;
  };
  const auto last = [&](std::size_t value) { return static_cast<double>(recording.values[value].shape.back().size); };
  double total = 0;
  for (const Operation& operation : recording.operations) {
    const auto outputs = [&] { return numbers(operation.outputs.at(0)); };
    if (operation.name == "_convolution") {
      // Each output is a sum over a filter: the weights of one output channel.
      const Shape& weight = recording.values[operation.value(1)].shape;
      total += outputs() * numbers(operation.value(1)) / static_cast<double>(weight.front().size);
    } else if (operation.name == "addmm") {
      total += outputs() * last(operation.value(1));
    } else if (operation.name == "linear" || operation.name == "matmul") {
      total += outputs() * last(operation.value(0));
    } else if (operation.name == "scaled_dot_product_attention") {
      // Queries with keys, and the shares with values.
      const Shape& keys = recording.values[operation.value(1)].shape;
      total += 2 * numbers(operation.value(0)) * static_cast<double>(keys[keys.size() - 2].size);
    }
  }
  return total;
}

Recording record(const Network& network, const at::Tensor& like) {
  const c10::NoGradGuard no_gradients;
  return Comparison(network, like).take();
}

}  // namespace cskd::exporting
