// The state that the rules of a translation share: the recording, the graph that grows, and the names of values.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "export/onnx_graph.h"
#include "export/recording.h"
#include "export/translation.h"

namespace cskd::exporting {

using Integers = std::vector<std::int64_t>;

// Throws DataError that names the operation.
[[noreturn]] void refuse(const Operation& operation, const std::string& what);
void require(const Operation& operation, bool is_so, const char* what);

class Translator {
 public:
  // All must outlive it.
  Translator(const Recording& recording, const Interface& names, FloatType floats)
      : recording_(recording), names_(names), graph_(floats) {}

  OnnxGraph run();

  OnnxGraph& graph() { return graph_; }
  const Value& value(std::size_t number) const { return recording_.values[number]; }
  const Shape& shape(std::size_t number) const { return value(number).shape; }
  std::int64_t rank(std::size_t number) const { return static_cast<std::int64_t>(shape(number).size()); }

  // The name of a value in the graph; a constant is added when it is first asked for.
  std::string name(std::size_t number);
  std::string first(const Operation& operation) { return name(operation.value(0)); }
  // An argument that is a tensor or a number.
  std::string operand(const Operation& operation, std::size_t argument);
  // An argument that is a dimension of a tensor of this rank, counted from the front.
  static std::int64_t axis(const Operation& operation, std::size_t argument, std::int64_t of_rank);
  // An argument that lists dimensions of the first; all where it is not given.
  Integers axes(const Operation& operation, std::size_t argument) const;
  // Throws DataError for what is no constant.
  const at::Tensor& constant(const Operation& operation, std::size_t argument) const;

  // The operation's output is this node, or this value.
  void give(const Operation& operation, const char* kind, const std::vector<std::string>& inputs,
            const std::vector<Attribute>& attributes = {});
  void same(const Operation& operation, const std::string& value) { know(operation.outputs.at(0), value); }
  void know(std::size_t number, const std::string& name) { known_[number] = name; }

  // The value in another shape. `output`: its name, or "".
  std::string reshaped(const Operation& operation, const std::string& value, const Shape& before, const Shape& after,
                       const std::string& output);
  // How many images there are: [1], int64.
  const std::string& images();

 private:
  void translate(const Operation& operation);

  const Recording& recording_;
  const Interface& names_;
  OnnxGraph graph_;
  std::map<std::size_t, std::string> known_;
  std::string images_;
};

using Rule = void (*)(Translator& to, const Operation& operation);
// By the operation's name.
const std::map<std::string, Rule>& rules_of_arithmetic();
const std::map<std::string, Rule>& rules_of_shape();

}  // namespace cskd::exporting
