// The runner of a configuration's stages in a world: threads, communicator, logs, progress and metrics around the
// functions of the table of stages.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "config/config.pb.h"
#include "distributed/communicator.h"
#include "distributed/watch.h"
#include "launch/display.h"
#include "launch/job_watch.h"
#include "launch/program.h"
#include "run/context.h"
#include "run/run_folder.h"
#include "runtime/run_lock.h"
#include "stages/graph.h"

namespace cskd::launch {

class StageRunner {
 public:
  struct Options {
    bool resume = true;  // from checkpoints; otherwise there must be none
    std::set<std::string> allowed_changes;
    // Member of a sweep: results lie in <run>/results/<stage>-<hash of what they are made from>, so that members share
    // what does not differ, and the configuration in <run>/members/<member>.toml.
    std::string member;
  };

  // Collective. Takes the run folder's lock; logs go to <run>/logs/rank-<r>.log as well from now on. Throws Error when
  // the run folder cannot be made, UsageError when another job works in it, or it has the layout of before stages had
  // names.
  StageRunner(config::Config config, const Options& options, const Program& program, runtime::World& world);
  ~StageRunner();
  StageRunner(const StageRunner&) = delete;
  StageRunner& operator=(const StageRunner&) = delete;

  // Collective. Throws UsageError with all that keeps these stages from being done: see stages::find_impossible().
  void require_possible(const std::vector<stages::Stage>& stages) const;

  // Collective. Throws UsageError that names every stage that these need, are not among them, and have no result yet,
  // or one that was made with other settings or data.
  void require_needs(const std::vector<stages::Stage>& stages) const;

  enum class Reason { kAsked, kPartOfRun };  // the user asked for this stage by its kind or name, or for a whole run
  // Collective. Says on rank 0 what was done. `more_follow`: this process goes on with another stage.
  run::StageOutcome run(const stages::Stage& stage, Reason reason, bool more_follow);

  // Where the result of a stage lies. Of a member of a sweep, only of stages that ran.
  std::filesystem::path result(const stages::Stage& stage) const { return context_->folder.stage(stage.id()); }

  // For work on a run's results that is no stage of its graph.
  const run::Context& context() const { return *context_; }

  const config::Config& config() const { return config_; }
  const run::RunFolder& folder() const { return context_->folder; }

 private:
  void require_same_job() const;
  std::vector<std::string> of_rank_zero(const std::function<std::vector<std::string>()>& find) const;
  void share_result(const stages::Stage& stage);
  run::StageOutcome act(const stages::Stage& stage);

  config::Config config_;
  std::string member_;
  runtime::World& world_;
  std::unique_ptr<runtime::RunLock> lock_;  // on rank 0
  std::unique_ptr<distributed::Communicator> communicator_;
  std::unique_ptr<distributed::Watch> watch_;
  std::unique_ptr<Display> display_;
  std::unique_ptr<JobWatch> job_watch_;
  std::unique_ptr<runtime::Trace> trace_;
  std::unique_ptr<run::Context> context_;
};

}  // namespace cskd::launch
