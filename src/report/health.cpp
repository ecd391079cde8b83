#include "report/health.h"

#include <algorithm>
#include <cerrno>
#include <csignal>

#include <fmt/format.h>

#include "report/number_text.h"
#include "runtime/host.h"

namespace cskd::report {
namespace {

using Process = Onlooker::Process;

Health health_of_running(const Status& status, const Onlooker& onlooker) {
  const double by_clocks = onlooker.now - status.updated;
  const double age = onlooker.saw_it_change ? onlooker.unchanged : std::max(onlooker.unchanged, by_clocks);
  if (onlooker.process == Process::kGone) {
    return {Verdict::kSilent, fmt::format("process {} is gone: it was killed or crashed", status.pid)};
  }
  if (age > kSilentAfter) {
    const std::string text = fmt::format("no sign of life for {}: ", duration_text(age));
    if (onlooker.process == Process::kElsewhere) return {Verdict::kSilent, text + "killed, or its machine is down"};
    return {Verdict::kSilent,
            text + fmt::format("process {} runs, but does not write: it is suspended, or its disk is full or hangs",
                               status.pid)};
  }
  const bool is_of_the_future = by_clocks < -kSilentAfter;
  if (is_of_the_future && !onlooker.saw_it_change && onlooker.process == Process::kElsewhere) {
    return {Verdict::kSilent,
            fmt::format("no sign of life seen yet; its clock is {} ahead of the one here", duration_text(-by_clocks))};
  }
  const double since_step = std::max(0.0, status.updated - status.last_step_time);
  if (status.steps > 0 && status.step < status.steps && since_step > step_patience(status)) {
    const std::string usual =
        status.step_seconds > 0 ? fmt::format(", where {} is usual", duration_text(status.step_seconds)) : "";
    return {Verdict::kStalled, fmt::format("alive, but no step for {}{}", duration_text(since_step), usual)};
  }
  return {Verdict::kHealthy, "healthy"};
}

}  // namespace

double step_patience(const Status& status) {
  if (status.step_seconds <= 0) return kFirstStepPatience;
  return std::max({kLeastStepPatience, 20 * status.step_seconds, 2 * status.longest_step_seconds});
}

Health health_of(const Status& status, const Onlooker& onlooker) {
  switch (status.state) {
    case RunState::kRunning:
      return health_of_running(status, onlooker);
    case RunState::kStopped:
      return {Verdict::kStopped, "stopped at a checkpoint; the same command continues"};
    case RunState::kFinished:
      return {Verdict::kFinished, "finished"};
    case RunState::kFailed:
      break;
  }
  return {Verdict::kFailed, status.message.empty() ? "failed" : status.message};
}

Process look_for_process(const Status& status) {
  const std::string here = runtime::process_namespace();
  if (here.empty() || status.process_namespace != here || status.host != runtime::host_name())
    return Process::kElsewhere;
  return ::kill(static_cast<pid_t>(status.pid), 0) != 0 && errno == ESRCH ? Process::kGone : Process::kThere;
}

std::string_view to_string(Verdict verdict) {
  switch (verdict) {
    case Verdict::kHealthy:
      return "healthy";
    case Verdict::kStalled:
      return "stalled";
    case Verdict::kSilent:
      return "silent";
    case Verdict::kStopped:
      return "stopped";
    case Verdict::kFinished:
      return "finished";
    case Verdict::kFailed:
      break;
  }
  return "failed";
}

}  // namespace cskd::report
