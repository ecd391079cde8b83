#include "export/translation.h"

#include <numeric>

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "export/translator.h"
#include "runtime/error.h"

namespace cskd::exporting {
namespace {

// -1 for the number of images.
Integers sizes(const Shape& shape) {
  Integers result;
  for (const Dimension& dimension : shape) result.push_back(dimension.is_of_batch ? -1 : dimension.size);
  return result;
}

}  // namespace

void refuse(const Operation& operation, const std::string& what) {
  throw runtime::DataError(
      fmt::format("the network cannot be exported to ONNX: its operation '{}' {}", operation.name, what));
}

void require(const Operation& operation, bool is_so, const char* what) {
  if (!is_so) refuse(operation, what);
}

OnnxGraph Translator::run() {
  const Value& input = value(recording_.input);
  graph_.add_input(names_.input, input.type, sizes(input.shape));
  know(recording_.input, names_.input);
  if (input.type == at::kFloat && graph_.floats() == FloatType::kFloat16)
    know(recording_.input, graph_.cast(names_.input, at::kHalf, value_name(recording_.input)));
  const std::size_t exact = first_exact_operation(recording_);
  for (std::size_t i = 0; i < recording_.operations.size(); ++i) {
    const Operation& operation = recording_.operations[i];
    if (i == exact && graph_.floats() == FloatType::kFloat16) {
      know(operation.value(0), graph_.cast(first(operation), at::kFloat));
      graph_.use(FloatType::kFloat32);
    }
    translate(operation);
  }
  for (std::size_t i = 0; i < recording_.outputs.size(); ++i) {
    const Value& output = value(recording_.outputs[i]);
    graph_.cast(name(recording_.outputs[i]), output.type, names_.outputs[i]);
    graph_.add_output(names_.outputs[i], output.type, sizes(output.shape));
  }
  return std::move(graph_);
}

void Translator::translate(const Operation& operation) {
  // An operation that changes in place has the name of the one that does not, and "_".
  std::string plain = operation.name;
  while (plain.ends_with('_')) plain.pop_back();
  for (const auto* rules : {&rules_of_arithmetic(), &rules_of_shape()}) {
    if (const auto rule = rules->find(plain); rule != rules->end()) return rule->second(*this, operation);
  }
  refuse(operation, "has no translation");
}

std::string Translator::name(std::size_t number) {
  if (const auto known = known_.find(number); known != known_.end()) return known->second;
  return known_[number] = graph_.constant(*value(number).constant, value_name(number));
}

std::string Translator::operand(const Operation& operation, std::size_t argument) {
  const bool is_value = std::holds_alternative<ValueNumber>(operation.arguments.at(argument));
  return is_value ? name(operation.value(argument)) : graph_.scalar(operation.number(argument));
}

std::int64_t Translator::axis(const Operation& operation, std::size_t argument, std::int64_t of_rank) {
  const std::int64_t given = operation.integer(argument);
  return given < 0 ? given + of_rank : given;
}

Integers Translator::axes(const Operation& operation, std::size_t argument) const {
  Integers result(shape(operation.value(0)).size());
  std::iota(result.begin(), result.end(), 0);
  const bool are_given = operation.has(argument) && std::holds_alternative<Integers>(operation.arguments[argument]) &&
                         !operation.integers(argument).empty();
  if (!are_given) return result;
  const auto of_rank = static_cast<std::int64_t>(result.size());
  result = operation.integers(argument);
  for (std::int64_t& each : result) each += each < 0 ? of_rank : 0;
  return result;
}

const at::Tensor& Translator::constant(const Operation& operation, std::size_t argument) const {
  const std::optional<at::Tensor>& found = value(operation.value(argument)).constant;
  if (!found) refuse(operation, "has weights that depend on the images");
  return *found;
}

void Translator::give(const Operation& operation, const char* kind, const std::vector<std::string>& inputs,
                      const std::vector<Attribute>& attributes) {
  const std::size_t output = operation.outputs.at(0);
  know(output, graph_.add(kind, inputs, attributes, value_name(output)));
}

std::string Translator::reshaped(const Operation& operation, const std::string& value, const Shape& before,
                                 const Shape& after, const std::string& output) {
  Integers target;
  bool is_inferred = false;
  for (std::size_t i = 0; i < after.size(); ++i) {
    if (!after[i].is_of_batch) {
      target.push_back(after[i].size);
    } else if (i < before.size() && before[i] == after[i]) {
      target.push_back(0);  // as it was
    } else {
      require(operation, !is_inferred, "has two dimensions of images");
      is_inferred = true;
      target.push_back(-1);
    }
  }
  return graph_.add("Reshape", {value, graph_.integers(target)}, {}, output);
}

const std::string& Translator::images() {
  if (images_.empty())
    images_ = graph_.add("Shape", {names_.input}, {{"start", std::int64_t{0}}, {"end", std::int64_t{1}}});
  return images_;
}

std::string value_name(std::size_t number) { return fmt::format("v{}", number); }

OnnxGraph translate(const Recording& recording, const Interface& names, FloatType floats) {
  return Translator(recording, names, floats).run();
}

}  // namespace cskd::exporting
