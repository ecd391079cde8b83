// The graph of an exported PyTorch model: the inference program of torch.export, as its file says it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include <c10/core/Layout.h>
#include <c10/core/MemoryFormat.h>
#include <c10/core/ScalarType.h>

namespace cskd::models {

// A tensor or a whole number that a node makes, or an input: its place among all values of a program.
using Value = int;

// An argument of a node as the file says it; no name is left unresolved.
struct NoValue {};
struct OwnDevice {};  // the model's own, whatever the file says
// A whole number that the program computes.
struct Symbol {
  Value value = 0;
};
using WholeNumber = std::variant<std::int64_t, Symbol>;
struct TensorValue {
  Value value = 0;
};
using TensorList = std::vector<std::optional<Value>>;
using ArgumentValue = std::variant<NoValue, OwnDevice, bool, std::int64_t, double, std::string, at::ScalarType,
                                   at::Layout, at::MemoryFormat, Symbol, TensorValue, TensorList,
                                   std::vector<WholeNumber>, std::vector<double>, std::vector<bool>>;

struct Argument {
  std::string name;
  ArgumentValue value;
};

struct Node {
  std::string target;  // "torch.ops.aten.conv2d.default", "_operator.mul"
  std::vector<Argument> arguments;
  // One for each thing that it returns: a value, or the values of a list.
  struct Output {
    std::vector<Value> values;
    bool is_list = false;
    bool is_number = false;
  };
  std::vector<Output> outputs;
};

enum class InputKind { kParameter, kBuffer, kConstant, kImages };

struct Input {
  InputKind kind = InputKind::kParameter;
  std::string name;  // of the parameter or buffer, "layer1.0.conv1.weight"
  Value value = 0;
  at::ScalarType type = at::kFloat;
  std::vector<std::int64_t> shape;  // of the images: without the first, the batch
};

struct Program {
  std::vector<Input> inputs;
  std::vector<Node> nodes;     // each uses inputs and what nodes before it made
  std::vector<Value> outputs;  // tensors
  // Of the outputs, without the batch, as the file says.
  std::vector<std::vector<std::int64_t>> output_shapes;
  int values = 0;  // of all nodes and inputs
};

}  // namespace cskd::models
