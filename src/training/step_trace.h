// The work of a training at each moment, for the journal of collectives and, where one is asked for, for a trace of
// some steps.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>

#include "distributed/gradient_reducer.h"
#include "runtime/world.h"
#include "training/trainer.h"

namespace cskd::training {

class StepTrace {
 public:
  using Clock = std::chrono::steady_clock;

  // Traces options.trace_steps steps behind the first options.trace_after after `first_step`. All must outlive it.
  StepTrace(const TrainerOptions& options, runtime::World& world, distributed::Communicator& communicator);

  // A phase begins, and ends the one before.
  void enter(const char* phase);
  void leave();

  // `first`: the steps that were done at this start.
  void begin(std::uint64_t first);
  // Before the step behind `done` others. Collective where the trace begins, so that the ranks' clocks can be laid over
  // each other.
  void before_step(std::uint64_t done);
  // Whether the trace ends with the step that was just done; `is_last`: no other follows.
  bool ends_after(std::uint64_t done, bool is_last) const;
  // Writes <folder>/trace.json of the first kMostTracedRanks ranks. Collective.
  void write();

  // Of a micro-batch that waited for its data from `start` on.
  void waited_for_data(std::uint64_t micro_batch, Clock::time_point start, double seconds);
  // Of a step that began at `start` and is done now.
  void step(std::uint64_t number, Clock::time_point start, const distributed::ReduceStatistics& reduced);

 private:
  // Note [Clocks of ranks]
  // Ranks on the node of rank 0 have its clock. To others an all-reduce ends at nearly the same moment, but a busy
  // processor may notice late; the median over some of them of how far a rank's clock is from rank 0's leaves those
  // out. Returns one moment, of the own clock: when rank 0 noticed the first of them, so that on every rank it lies
  // before what comes next. Collective.
  Clock::time_point common_moment();

  const TrainerOptions& options_;
  runtime::World& world_;
  distributed::Communicator& communicator_;
  runtime::Trace* trace_;  // null: none
  const char* phase_ = nullptr;
  Clock::time_point since_;
  std::uint64_t first_ = 0;
};

}  // namespace cskd::training
