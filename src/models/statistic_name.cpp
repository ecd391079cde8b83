#include "models/statistic_name.h"

#include <algorithm>
#include <array>

namespace cskd::models {

bool is_statistic(std::string_view buffer) {
  constexpr std::array<std::string_view, 3> kNames{"running_mean", "running_var", "num_batches_tracked"};
  return std::ranges::find(kNames, buffer.substr(buffer.rfind('.') + 1)) != kNames.end();
}

}  // namespace cskd::models
