// The share of a training's time whose progress was kept, over all its starts.
//
// Note [Goodput]
// Held is the time that processes of the job were there for the training: from its begin to its end, what was done
// again after a loss, loading, and also the gap between two starts in one allocation of hosts, in which they wait for
// the restart. A gap in which the job had no hosts (a queue) does not count. Kept is the time of the steps that are
// part of the result. The share is what is left of the hosts' time; what it lacks went into starts, losses, and what is
// not a step (validation, the end). A run's status carries the sums from one start to the next.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

namespace cskd::report {

struct Goodput {
  std::string stage;
  std::string allocation;       // of hosts, e.g. "slurm 1207.0"; "": not known
  std::int64_t step = 0;        // done
  std::int64_t starts = 1;      // of the training
  std::int64_t lost_steps = 0;  // that were done and lost
  double held = 0;              // seconds
  double kept = 0;              // seconds
  bool ended = false;           // the training is done

  double share() const { return held > 0 ? kept / held : 1; }
  bool operator==(const Goodput&) const = default;
};

// Of this process: job and restart count of Slurm; "" outside of it.
std::string allocation_of_job();

class GoodputMeter {
 public:
  // `before`: what the run's status said when the process began, and `silence`: the seconds since its last sign of
  // life. `clock`: seconds, now and below.
  GoodputMeter(std::optional<Goodput> before, double silence, std::string allocation, double clock);

  // A training begins, or goes on, behind so many steps.
  void start(const std::string& stage, std::int64_t first_step, double clock);
  // A step is done; `kept`: the time of all kept ones.
  void step(std::int64_t step, double kept, double clock);
  // It ended, at its last step or at a checkpoint.
  void end(bool finished, double clock);

  // Of the training under way, or the one before; while stages before it are looked at, of the one that will go on.
  std::optional<Goodput> now(double clock) const;

 private:
  std::string allocation_;
  std::optional<Goodput> record_;
  double since_;              // when record_->held was true
  bool is_counting_ = false;  // held grows
};

}  // namespace cskd::report
