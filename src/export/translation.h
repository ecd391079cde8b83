// LibTorch's operations in ONNX's operators.
#pragma once

#include <string>
#include <vector>

#include "export/onnx_graph.h"
#include "export/recording.h"

namespace cskd::exporting {

// Names of the input and of the outputs, in the order of the recording.
struct Interface {
  std::string input;
  std::vector<std::string> outputs;
};

// The name that a recorded value has in the graph.
std::string value_name(std::size_t number);

// The recorded network; inputs and outputs keep their types, what lies between has the graph's. Throws DataError,
// naming the operation, when there is no translation.
OnnxGraph translate(const Recording& recording, const Interface& names, FloatType floats);

}  // namespace cskd::exporting
