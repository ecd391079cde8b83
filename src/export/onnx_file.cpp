#include "export/onnx_file.h"

#include <fmt/format.h>
#include <onnx/checker.h>

#include "runtime/error.h"

namespace cskd::exporting {
namespace {

constexpr std::int64_t kIrVersion = 8;  // of ONNX 1.12, as the opset
constexpr std::int64_t kOpset = 17;
constexpr std::size_t kLargest = (std::size_t{1} << 31) - 1;

}  // namespace

std::string onnx_file(OnnxGraph graph, const std::string& name, const std::string& description,
                      const std::vector<std::pair<std::string, std::string>>& metadata) {
  onnx::ModelProto model;
  model.set_ir_version(kIrVersion);
  model.set_producer_name("cskd");
  model.set_doc_string(description);
  onnx::OperatorSetIdProto& opset = *model.add_opset_import();
  opset.set_domain("");
  opset.set_version(kOpset);
  for (const auto& [key, value] : metadata) {
    onnx::StringStringEntryProto& entry = *model.add_metadata_props();
    entry.set_key(key);
    entry.set_value(value);
  }
  *model.mutable_graph() = std::move(graph.proto());
  model.mutable_graph()->set_name(name);
  if (model.ByteSizeLong() > kLargest) {
    throw runtime::DataError(fmt::format("{} takes {} bytes, an ONNX file can hold 2 GiB: export it as fp16 or int8",
                                         name, model.ByteSizeLong()));
  }
  try {
    onnx::checker::check_model(model);
  } catch (const std::exception& error) {
    throw runtime::DataError(fmt::format("{} is no sound ONNX model: {}", name, error.what()));
  }
  return model.SerializeAsString();
}

}  // namespace cskd::exporting
