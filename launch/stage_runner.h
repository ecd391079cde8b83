// Runs stages of a configuration in a world: threads, communicator, logs, progress and metrics around what src/stages
// does.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "config/config.pb.h"
#include "distributed/communicator.h"
#include "distributed/watch.h"
#include "evaluation/metrics.h"
#include "launch/display.h"
#include "launch/job_watch.h"
#include "launch/program.h"
#include "runtime/run_lock.h"
#include "stages/context.h"

namespace cskd::launch {

// How good a trained model is on the held-out test pictures.
struct ModelResult {
  std::string model;  // "student", "supervised" or "teacher"
  double label_fraction = 1;
  evaluation::Scores scores;
};

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

  // Names in their order: shard, cache, align, finetune, baseline, distill, evaluate.
  static const std::vector<std::string>& stages();

  // Collective. Throws UsageError with all that keeps these stages from being done: see stages::find_impossible().
  void require_possible(const std::vector<std::string>& stages) const;

  // Collective. Says on rank 0 what was done. `by_name`: the user asked for this stage, not for all.
  stages::StageOutcome run(const std::string& stage, bool by_name);

  // What evaluate found, now or before; rank 0 only, empty until it ran.
  const std::vector<ModelResult>& results() const { return results_; }
  const config::Config& config() const { return config_; }

 private:
  void require_same_job() const;
  stages::StageOutcome act(const std::string& stage);
  stages::StageOutcome evaluate();
  // What decides about what evaluate() finds of the models that these stages trained.
  runtime::Inputs evaluate_inputs(const std::vector<std::string>& trained) const;

  config::Config config_;
  runtime::World& world_;
  std::unique_ptr<runtime::RunLock> lock_;  // on rank 0
  std::unique_ptr<distributed::Communicator> communicator_;
  std::unique_ptr<distributed::Watch> watch_;
  std::unique_ptr<Display> display_;
  std::unique_ptr<JobWatch> job_watch_;
  std::unique_ptr<runtime::Trace> trace_;
  std::unique_ptr<stages::Context> context_;
  std::vector<ModelResult> results_;
};

// A table of results for people, one line each.
std::string results_table(const std::vector<ModelResult>& results);

}  // namespace cskd::launch
