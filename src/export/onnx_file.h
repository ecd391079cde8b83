// An ONNX file: a graph with what a program has to know to use it.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "export/onnx_graph.h"

namespace cskd::exporting {

// The bytes of a file that holds the graph: IR version 8, opset 17, `metadata` as it is in metadata_props. Checked by
// ONNX's own checker. Throws DataError when that finds fault, or the file would be larger than 2 GiB, which the format
// cannot hold.
std::string onnx_file(OnnxGraph graph, const std::string& name, const std::string& description,
                      const std::vector<std::pair<std::string, std::string>>& metadata);

}  // namespace cskd::exporting
