// A call of an operator, with its arguments in their order.
#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/ivalue.h>

#include "models/plugin/operation.h"
#include "models/plugin/program.h"

namespace cskd::models {

struct Call {
  enum class Number { kNone, kAdd, kSubtract, kMultiply, kFloorDivide, kModulo, kNegate };

  std::string name;                          // "aten::conv2d", for messages
  std::optional<c10::OperatorHandle> op;     // none: of whole numbers
  std::optional<c10::OperatorHandle> fresh;  // of an operator in place: the same that returns a new tensor
  Number number = Number::kNone;
  std::vector<c10::IValue> arguments;  // in the schema's order; those that change are filled in
  // Where a value goes: an argument, or an element of a list.
  struct Tensors {
    std::size_t argument = 0;
    std::vector<std::optional<Value>> values;
    bool is_list = false;
    bool takes_none = false;  // the list's elements may be missing
  };
  std::vector<Tensors> tensors;
  struct Sizes {
    std::size_t argument = 0;
    std::vector<WholeNumber> sizes;
    bool is_list = false;
  };
  std::vector<Sizes> sizes;
  std::vector<std::size_t> devices;     // arguments that are the device
  std::optional<std::size_t> training;  // the argument that is true while a model is trained
  std::vector<Node::Output> outputs;
  std::vector<Value> dead;  // let go after it
  bool is_fixed = false;
  bool is_convolution = false;  // images, kernel, bias, stride and padding are its first arguments
};

// Throws DataError that begins with `origin`: this LibTorch does not have the operator, or its arguments and results
// are not those that it is given.
Call make_call(const Operation& operation, const std::string& origin);

// The values that it reads.
std::vector<Value> read_values(const Call& call);

}  // namespace cskd::models
