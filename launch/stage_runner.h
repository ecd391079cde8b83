// Runs stages of a configuration in a world: threads, communicator, logs, progress and metrics around the
// functions of the table of stages.
#pragma once

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
#include "runtime/run_lock.h"

namespace cskd::launch {

class StageRunner {
 public:
  struct Options {
    bool resume = true;  // from checkpoints; otherwise there must be none
    std::set<std::string> allowed_changes;
  };

  // Collective. Takes the run folder's lock; logs go to <run>/logs/rank-<r>.log as well from now on. Throws Error when
  // the run folder cannot be made, UsageError when another job works in it.
  StageRunner(config::Config config, const Options& options, const Program& program, runtime::World& world);
  ~StageRunner();
  StageRunner(const StageRunner&) = delete;
  StageRunner& operator=(const StageRunner&) = delete;

  // Collective. Throws UsageError with all that keeps these stages from being done: see stages::find_impossible().
  void require_possible(const std::vector<std::string>& stages) const;

  // Collective. Says on rank 0 what was done. `by_name`: the user asked for this stage, not for all.
  run::StageOutcome run(const std::string& stage, bool by_name);

  const config::Config& config() const { return config_; }

 private:
  void require_same_job() const;
  run::StageOutcome act(const std::string& stage);

  config::Config config_;
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
