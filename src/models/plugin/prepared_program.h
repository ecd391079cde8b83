// A program made ready to run.
#pragma once

#include <string>
#include <vector>

#include "models/plugin/call.h"
#include "models/plugin/program.h"

namespace cskd::models {

struct PreparedProgram {
  std::vector<Input> inputs;        // those that are used, by their first use, and the images
  std::vector<std::string> unused;  // names of the others
  std::vector<Call> calls;          // in their order
  std::vector<Value> outputs;
  std::vector<std::vector<std::int64_t>> output_shapes;  // without the batch
  int values = 0;
  std::vector<std::string> statistics;  // buffers that are running statistics of batch normalisation
};

// As simplify() makes it, with what each call lets go, and with calls marked that depend on no image, parameter or
// statistic. Throws DataError that begins with `origin`, as find_operations(), running_statistics(), simplify() and
// make_call().
PreparedProgram prepare_program(Program program, const std::string& origin);

// Says anew after each call which values no later one reads: memory is then what the same modules would need.
void let_go(PreparedProgram& program);

}  // namespace cskd::models
