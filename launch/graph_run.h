// A run of all stages of a configuration, in the order of its graph.
#pragma once

#include <optional>

#include "launch/run_summary.h"
#include "launch/stage_runner.h"
#include "runtime/world.h"

namespace cskd::launch {

// Collective. What was done; nothing when the run was stopped and is to go on later. Throws as StageRunner::run(), and
// UsageError, before anything is done, when a stage of the graph is impossible. `more_follow`: this process goes on
// with another graph in the same run folder.
std::optional<RunSummary> run_graph(StageRunner& runner, runtime::World& world, bool more_follow = false);

}  // namespace cskd::launch
