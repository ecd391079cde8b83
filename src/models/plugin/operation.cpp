#include "models/plugin/operation.h"

#include <algorithm>
#include <map>
#include <variant>

#include <fmt/format.h>

#include "models/encoder.h"
#include "models/safetensors_header.h"

namespace cskd::models {
namespace {

constexpr std::string_view kAten = "torch.ops.aten.";
constexpr std::string_view kOfNumbers = "_operator.";

template <typename... Cases>
struct Overloaded : Cases... {
  using Cases::operator()...;
};
template <typename... Cases>
Overloaded(Cases...) -> Overloaded<Cases...>;

// "torch.ops.aten.conv2d.default" as name and overload; empty names for anything else.
std::pair<std::string, std::string> name_and_overload(std::string_view target) {
  if (!target.starts_with(kAten)) return {};
  const std::string_view rest = target.substr(kAten.size());
  const std::size_t dot = rest.find('.');
  if (dot == std::string_view::npos) return {};
  const std::string_view overload = rest.substr(dot + 1);
  return {std::string(rest.substr(0, dot)), overload == "default" ? "" : std::string(overload)};
}

Operation found(Node node, const std::string& origin) {
  Operation operation;
  if (node.target.starts_with(kOfNumbers)) {
    operation.node = std::move(node);
    return operation;
  }
  const auto [name, overload] = name_and_overload(node.target);
  operation.rule = find_operator(name);
  if (operation.rule == nullptr) {
    throw unusable_program(origin, fmt::format("it calls {}, which is not among the operators that a plug-in may call "
                                               "(docs/plugins.md lists them)",
                                               shown(node.target)));
  }
  operation.overload = overload;
  operation.node = std::move(node);
  return operation;
}

std::vector<Value> values_of(const ArgumentValue& value) {
  std::vector<Value> values;
  std::visit(Overloaded{[&](const Symbol& symbol) { values.push_back(symbol.value); },
                        [&](const TensorValue& tensor) { values.push_back(tensor.value); },
                        [&](const TensorList& list) {
                          for (const std::optional<Value>& each : list)
                            if (each) values.push_back(*each);
                        },
                        [&](const std::vector<WholeNumber>& sizes) {
                          for (const WholeNumber& size : sizes)
                            if (const auto* const symbol = std::get_if<Symbol>(&size)) values.push_back(symbol->value);
                        },
                        [](const auto&) {}},
             value);
  return values;
}

}  // namespace

runtime::DataError unusable_program(const std::string& origin, const std::string& reason) {
  return runtime::DataError(fmt::format("{}: the program cannot be run: {}", origin, reason));
}

std::vector<Operation> find_operations(Program& program, const std::string& origin) {
  std::vector<Operation> operations;
  for (Node& node : program.nodes) operations.push_back(found(std::move(node), origin));
  program.nodes.clear();
  return operations;
}

std::set<std::string> running_statistics(const Program& program, const std::vector<Operation>& operations,
                                         const std::string& origin) {
  std::set<std::string> statistics;

  std::map<Value, const Input*> inputs;
  for (const Input& input : program.inputs) inputs[input.value] = &input;
  for (const Operation& operation : operations) {
    if (operation.rule == nullptr) continue;
    const Node& node = operation.node;
    if (operation.rule->kind == OperatorKind::kDropout) {
      const Argument* const train = find_argument(node, "train");
      if (train != nullptr && std::holds_alternative<bool>(train->value) && std::get<bool>(train->value))
        throw unusable_program(origin,
                               "it was exported in training mode; call model.eval() before torch.export.export()");
    }
    if (operation.rule->kind != OperatorKind::kBatchNorm) continue;
    const Argument* const mean = find_argument(node, "running_mean");
    if (mean == nullptr || std::holds_alternative<NoValue>(mean->value)) continue;
    const Argument* const training = find_argument(node, "training");
    if (training == nullptr || !std::holds_alternative<bool>(training->value) || std::get<bool>(training->value))
      throw unusable_program(origin,
                             "it was exported in training mode; call model.eval() before torch.export.export()");
    for (const char* const name : {"running_mean", "running_var"}) {
      const Argument* const statistic = find_argument(node, name);
      const auto* const tensor = statistic == nullptr ? nullptr : std::get_if<TensorValue>(&statistic->value);
      const auto input = tensor == nullptr ? inputs.end() : inputs.find(tensor->value);
      if (input == inputs.end() || input->second->kind != InputKind::kBuffer)
        throw unusable_program(origin, fmt::format("{} of a batch normalisation is no buffer", name));
      if (!is_statistic(input->second->name)) {
        throw unusable_program(
            origin, fmt::format("the buffer {} is a statistic of batch normalisation, whose name must end in "
                                "running_mean or running_var",
                                shown(input->second->name)));
      }
      statistics.insert(input->second->name);
    }
  }
  return statistics;
}

std::vector<Value> read_values(const Node& node) {
  std::vector<Value> values;
  for (const Argument& argument : node.arguments) {
    const std::vector<Value> more = values_of(argument.value);
    values.insert(values.end(), more.begin(), more.end());
  }
  return values;
}

std::vector<Value> made_values(const Node& node) {
  std::vector<Value> values;
  for (const Node::Output& output : node.outputs)
    values.insert(values.end(), output.values.begin(), output.values.end());
  return values;
}

void rename(ArgumentValue& argument, const std::vector<Value>& renamed) {
  const auto at = [&](Value old) { return renamed[static_cast<std::size_t>(old)]; };
  std::visit(Overloaded{[&](Symbol& symbol) { symbol.value = at(symbol.value); },
                        [&](TensorValue& tensor) { tensor.value = at(tensor.value); },
                        [&](TensorList& list) {
                          for (std::optional<Value>& each : list)
                            if (each) each = at(*each);
                        },
                        [&](std::vector<WholeNumber>& sizes) {
                          for (WholeNumber& size : sizes)
                            if (auto* const symbol = std::get_if<Symbol>(&size)) symbol->value = at(symbol->value);
                        },
                        [](auto&) {}},
             argument);
}

std::string text_of(const ArgumentValue& argument) {
  return std::visit(Overloaded{[](const NoValue&) { return std::string("none"); },
                               [](const OwnDevice&) { return std::string("device"); },
                               [](bool truth) { return fmt::format("b{}", truth); },
                               [](std::int64_t number) { return fmt::format("i{}", number); },
                               [](double number) { return fmt::format("f{:a}", number); },
                               [](const std::string& text) { return fmt::format("s{}:{}", text.size(), text); },
                               [](at::ScalarType type) { return fmt::format("t{}", static_cast<int>(type)); },
                               [](at::Layout) { return std::string("strided"); },
                               [](at::MemoryFormat format) { return fmt::format("m{}", static_cast<int>(format)); },
                               [](const Symbol& symbol) { return fmt::format("v{}", symbol.value); },
                               [](const TensorValue& tensor) { return fmt::format("v{}", tensor.value); },
                               [](const TensorList& list) {
                                 std::string text = "[";
                                 for (const std::optional<Value>& each : list)
                                   text += each ? fmt::format("v{},", *each) : "none,";
                                 return text + "]";
                               },
                               [](const std::vector<WholeNumber>& sizes) {
                                 std::string text = "[";
                                 for (const WholeNumber& size : sizes) {
                                   const auto* const number = std::get_if<std::int64_t>(&size);
                                   text += number ? fmt::format("i{},", *number)
                                                  : fmt::format("v{},", std::get<Symbol>(size).value);
                                 }
                                 return text + "]";
                               },
                               [](const std::vector<double>& numbers) {
                                 std::string text = "[";
                                 for (const double number : numbers) text += fmt::format("f{:a},", number);
                                 return text + "]";
                               },
                               [](const std::vector<bool>& truths) {
                                 std::string text = "[";
                                 for (const bool truth : truths) text += truth ? "1" : "0";
                                 return text + "]";
                               }},
                    argument);
}

const Argument* find_argument(const Node& node, std::string_view name) {
  const auto found = std::ranges::find(node.arguments, name, &Argument::name);
  return found == node.arguments.end() ? nullptr : &*found;
}

std::optional<Value> first_tensor(const Node& node) {
  const Argument* argument = node.arguments.empty() ? nullptr : &node.arguments.front();
  for (const char* const name : {"input", "self"})
    if (const Argument* const named = find_argument(node, name)) argument = named;
  const auto* const tensor = argument == nullptr ? nullptr : std::get_if<TensorValue>(&argument->value);
  if (tensor == nullptr) return std::nullopt;
  return tensor->value;
}

}  // namespace cskd::models
