#include "launch/graph_run.h"

#include <vector>

#include "runtime/stop_signal.h"
#include "stages/graph.h"

namespace cskd::launch {

std::optional<RunSummary> run_graph(StageRunner& runner, runtime::World& world, bool more_follow) {
  RunSummary summary;
  const std::vector<stages::Stage> graph = stages::graph(runner.config());
  runner.require_possible(graph);
  for (const stages::Stage& stage : graph) {
    const run::StageOutcome outcome =
        runner.run(stage, StageRunner::Reason::kPartOfRun, more_follow || &stage != &graph.back());
    if (stage.entry->makes_corpus && outcome.finished) runner.require_possible(graph);
    if (!outcome.finished) return std::nullopt;
    const run::Completion& completion = outcome.completion;
    summary.stages.push_back(
        {stage.id(), completion.seconds,
         completion.seconds > 0 ? static_cast<double>(completion.images) / completion.seconds : 0});
    if (stage.entry->makes_corpus) summary.corpus = completion.facts;
    if (stage.entry->judges && world.rank() == 0) summary.results = evaluation::read_results(runner.result(stage));
    if (world.any(runtime::StopSignal::received() != 0)) return std::nullopt;
  }
  return summary;
}

}  // namespace cskd::launch
