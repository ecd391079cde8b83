// The time by which a run has to be over, as people and schedulers say it.
#pragma once

#include <chrono>
#include <optional>
#include <string>

namespace cskd::launch {

// `text`: a duration from `now` on ("90m", "1h30m", "5400s"), a time of day and date ("2026-12-01T18:00",
// "2026-12-01T18:00:30Z"; without Z in the local time zone), or "slurm": the end of the Slurm job, from `slurm_end`
// (the value of SLURM_JOB_END_TIME, Unix seconds). Throws UsageError when it is none of them, or lies in the past.
std::chrono::system_clock::time_point parse_deadline(const std::string& text, std::chrono::system_clock::time_point now,
                                                     const std::optional<std::string>& slurm_end);

}  // namespace cskd::launch
