// The health of a run, from its status.
#pragma once

#include <string>
#include <string_view>

#include "report/status.h"

namespace cskd::report {

enum class Verdict {
  kHealthy,
  kStalled,  // alive, but no step for long
  kSilent,   // says it runs, but gave no sign of life for long
  kStopped,
  kFinished,
  kFailed,
};

struct Health {
  Verdict verdict = Verdict::kHealthy;
  std::string text;  // for people; one line, unless the run's own message has more
};

// Note [Clocks and signs of life]
// A status carries the times of the clock of its host. How long ago it was written is known from the reader's clock
// only when both agree; a reader that sees `updated` change, and then not, knows it from its own. How long ago the last
// step was is the difference of two times of the host.
struct Onlooker {
  enum class Process {
    kThere,
    kGone,
    kElsewhere,  // on another host, where this one cannot see it
  };

  double now = 0;  // Unix seconds
  Process process = Process::kElsewhere;
  double unchanged = 0;        // seconds for which the status was seen with the same `updated`; 0: at the first look
  bool saw_it_change = false;  // to this one
};

constexpr double kSilentAfter = 60;         // seconds
constexpr double kFirstStepPatience = 600;  // seconds, until it is known how long a step takes
constexpr double kLeastStepPatience = 60;   // seconds

// Seconds without a step from which on a run counts as stalled: 20 usual ones, or twice the longest of this start (one
// with a validation), and at least kLeastStepPatience.
double step_patience(const Status& status);

Health health_of(const Status& status, const Onlooker& onlooker);

// Looks for the process of a running status on this host.
Onlooker::Process look_for_process(const Status& status);

std::string_view to_string(Verdict verdict);

}  // namespace cskd::report
