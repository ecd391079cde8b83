// The translation of a recorded convolutional network into steps.
#pragma once

#include <functional>
#include <memory>
#include <vector>

#include "compiled/network_steps.h"
#include "compiled/step_memory.h"
#include "export/recording.h"

namespace cskd::compiled {

struct NetworkPlan {
  std::vector<std::unique_ptr<Step>> steps;  // the first one writes the input, step number 0 of the maps
  std::vector<StepMemory::Map> maps;
  std::size_t output = 0;  // map: features, of one place
  std::size_t width = 0;   // of the features
};

// `make_first`: the step that writes the map it is given. REQUIRES: the input is [n, C, H, W] float32, there is one
// output. Throws DataError that names the first operation that there is no step for.
using FirstStep = std::function<std::unique_ptr<Step>(std::size_t map, const MapSize& size)>;
NetworkPlan plan_network(const exporting::Recording& recording, const FirstStep& make_first);

}  // namespace cskd::compiled
