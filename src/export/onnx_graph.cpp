#include "export/onnx_graph.h"

#include <ATen/ATen.h>
#include <fmt/format.h>

#include "runtime/error.h"

namespace cskd::exporting {
namespace {

void set_shape(onnx::ValueInfoProto& info, const std::string& name, at::ScalarType type,
               const std::vector<std::int64_t>& shape) {
  info.set_name(name);
  onnx::TypeProto::Tensor& tensor = *info.mutable_type()->mutable_tensor_type();
  tensor.set_elem_type(onnx_type(type));
  for (const std::int64_t size : shape) {
    auto& dimension = *tensor.mutable_shape()->add_dim();
    if (size < 0) {
      dimension.set_dim_param(kBatch);
    } else {
      dimension.set_dim_value(size);
    }
  }
}

}  // namespace

std::int32_t onnx_type(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return onnx::TensorProto::FLOAT;
    case at::kHalf:
      return onnx::TensorProto::FLOAT16;
    case at::kByte:
      return onnx::TensorProto::UINT8;
    case at::kChar:
      return onnx::TensorProto::INT8;
    case at::kInt:
      return onnx::TensorProto::INT32;
    case at::kLong:
      return onnx::TensorProto::INT64;
    case at::kBool:
      return onnx::TensorProto::BOOL;
    default:
      throw runtime::DataError(
          fmt::format("the network cannot be exported: it holds numbers of the type {}", at::toString(type)));
  }
}

std::string OnnxGraph::new_name(const char* stem) { return fmt::format("{}_{}", stem, ++names_); }

std::string OnnxGraph::constant(const at::Tensor& tensor, const std::string& name) {
  at::Tensor kept = tensor.detach().contiguous();
  if (kept.is_floating_point()) kept = kept.to(floats_ == FloatType::kFloat16 ? at::kHalf : at::kFloat);
  onnx::TensorProto& proto = *graph_.add_initializer();
  proto.set_name(name.empty() ? new_name("constant") : name);
  proto.set_data_type(onnx_type(kept.scalar_type()));
  for (const std::int64_t size : kept.sizes()) proto.add_dims(size);
  proto.set_raw_data(kept.const_data_ptr(), kept.nbytes());
  return proto.name();
}

std::string OnnxGraph::scalar(double value) { return constant(at::scalar_tensor(value, at::kFloat)); }

std::string OnnxGraph::integers(const std::vector<std::int64_t>& values) {
  return constant(at::tensor(at::IntArrayRef(values), at::kLong));
}

void OnnxGraph::add_node(const char* operation, const std::vector<std::string>& inputs,
                         const std::vector<std::string>& outputs, const std::vector<Attribute>& attributes) {
  onnx::NodeProto& node = *graph_.add_node();
  node.set_op_type(operation);
  node.set_name(new_name(operation));
  for (const std::string& input : inputs) node.add_input(input);
  for (const std::string& output : outputs) node.add_output(output);
  for (const auto& [name, value] : attributes) {
    onnx::AttributeProto& attribute = *node.add_attribute();
    attribute.set_name(name);
    if (const auto* integer = std::get_if<std::int64_t>(&value)) {
      attribute.set_type(onnx::AttributeProto::INT);
      attribute.set_i(*integer);
    } else if (const auto* number = std::get_if<double>(&value)) {
      attribute.set_type(onnx::AttributeProto::FLOAT);
      attribute.set_f(static_cast<float>(*number));
    } else if (const auto* text = std::get_if<std::string>(&value)) {
      attribute.set_type(onnx::AttributeProto::STRING);
      attribute.set_s(*text);
    } else {
      attribute.set_type(onnx::AttributeProto::INTS);
      for (const std::int64_t each : std::get<std::vector<std::int64_t>>(value)) attribute.add_ints(each);
    }
  }
}

std::string OnnxGraph::add(const char* operation, const std::vector<std::string>& inputs,
                           const std::vector<Attribute>& attributes, const std::string& output) {
  const std::string name = output.empty() ? new_name("value") : output;
  add_node(operation, inputs, {name}, attributes);
  return name;
}

std::string OnnxGraph::cast(const std::string& value, at::ScalarType type, const std::string& output) {
  return add("Cast", {value}, {{"to", std::int64_t{onnx_type(type)}}}, output);
}

void OnnxGraph::add_input(const std::string& name, at::ScalarType type, const std::vector<std::int64_t>& shape) {
  set_shape(*graph_.add_input(), name, type, shape);
}

void OnnxGraph::add_output(const std::string& name, at::ScalarType type, const std::vector<std::int64_t>& shape) {
  set_shape(*graph_.add_output(), name, type, shape);
}

}  // namespace cskd::exporting
