// How OpenMP's threads wait for their next piece of work.
//
// Note [Threads that spin]
// Between two operations libgomp's threads spin for 300,000 turns, about a millisecond, before they sleep. Where
// another process wants their cores this takes time from all: a step of MobileNetV3-Small (4 images of 32 pixels, two
// threads on two cores, beside two busy processes) took 157 ms instead of 70. Not to spin at all
// (OMP_WAIT_POLICY=passive) is no remedy, since waking a thread costs more than most operations: with the cores idle,
// 115 ms instead of 27. 10,000 turns cost nothing alone, and little beside others. So threads spin for as long, unless
// Slurm gave the cores to this job alone, or the environment (OMP_WAIT_POLICY, GOMP_SPINCOUNT) says otherwise.
#pragma once

#include <string>

namespace cskd::launch {

// What holds for this process, for the log: "spin for GOMP_SPINCOUNT=10000 turns".
std::string thread_waiting();

}  // namespace cskd::launch
