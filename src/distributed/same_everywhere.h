// A check of facts that must be equal on every rank.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "runtime/world.h"

namespace cskd::distributed {

// Names and values; the names are the same on every rank, or the first that is not is named.
using Facts = std::vector<std::pair<std::string, std::string>>;

// Collective. Throws UsageError, on every rank, that names `what`, the first fact that differs, the ranks and both
// values.
void require_same(runtime::World& world, const std::string& what, const Facts& facts);

}  // namespace cskd::distributed
