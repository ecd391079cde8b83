// The way OpenMP's threads wait for their next piece of work.
//
// Note [Threads that spin]
// Between two operations libgomp's threads spin for 300,000 turns, about a millisecond, before they sleep. Where
// other processes want their cores this takes time from all. Not to spin at all (OMP_WAIT_POLICY=passive) is no remedy:
// waking a thread costs more than many an operation, and a step on idle cores takes 2.4 to 4 times as long. With 10,000
// turns it takes 2 to 9 % longer on idle cores, and 0.6 to 0.8 times as long beside as many busy processes as there are
// cores (docs/benchmarks.md, "Threads that wait"). So threads spin for as long, unless Slurm gave the cores to this job
// alone, or the environment (OMP_WAIT_POLICY, GOMP_SPINCOUNT) says otherwise.
#pragma once

#include <string>

namespace cskd::launch {

// What holds for this process, for the log: "spin for GOMP_SPINCOUNT=10000 turns".
std::string thread_waiting();

}  // namespace cskd::launch
