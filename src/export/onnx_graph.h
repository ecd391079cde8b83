// A graph of ONNX operators (opset 17) that grows node by node.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <variant>
#include <vector>

#include <ATen/core/Tensor.h>
#include <onnx/onnx_pb.h>

namespace cskd::exporting {

// What the floating-point numbers of a graph are.
enum class FloatType { kFloat32, kFloat16 };

using Attribute = std::pair<const char*, std::variant<std::int64_t, double, std::string, std::vector<std::int64_t>>>;

class OnnxGraph {
 public:
  explicit OnnxGraph(FloatType floats) : floats_(floats) {}

  // Each returns the name of what it adds. Tensors of floating-point numbers become the graph's kind.
  std::string constant(const at::Tensor& tensor, const std::string& name = "");
  std::string scalar(double value);  // of the graph's kind
  std::string integers(const std::vector<std::int64_t>& values);
  // A node with one output, which is called `output`, or gets a name of its own.
  std::string add(const char* operation, const std::vector<std::string>& inputs,
                  const std::vector<Attribute>& attributes = {}, const std::string& output = "");
  // A node with these outputs.
  void add_node(const char* operation, const std::vector<std::string>& inputs, const std::vector<std::string>& outputs,
                const std::vector<Attribute>& attributes);
  std::string cast(const std::string& value, at::ScalarType type, const std::string& output = "");

  // shape: sizes, or -1 for the number of images.
  void add_input(const std::string& name, at::ScalarType type, const std::vector<std::int64_t>& shape);
  void add_output(const std::string& name, at::ScalarType type, const std::vector<std::int64_t>& shape);

  FloatType floats() const { return floats_; }
  void use(FloatType floats) { floats_ = floats; }  // for what is added from now on
  onnx::GraphProto& proto() { return graph_; }

 private:
  std::string new_name(const char* stem);

  FloatType floats_;
  onnx::GraphProto graph_;
  int names_ = 0;
};

// Name of the dimension that counts images, in inputs and outputs.
inline constexpr const char* kBatch = "images";

// ONNX's number for a type. Throws DataError for one that no network of ours has.
std::int32_t onnx_type(at::ScalarType type);

}  // namespace cskd::exporting
