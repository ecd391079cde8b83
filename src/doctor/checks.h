// What the gathered facts mean: each is fine, slow (works, but costs time) or wrong (will fail), with a remedy.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "doctor/mpi_probe.h"
#include "doctor/rank_facts.h"

namespace cskd::doctor {

enum class Verdict { kFine, kSlow, kWrong };

struct Check {
  std::string name;
  Verdict verdict = Verdict::kFine;
  std::string found;
  std::string remedy;  // empty when fine
};

// The facts of all ranks, [r] of rank r, and what rank 0 measured.
struct WorldFacts {
  std::string launcher;  // "mpirun", "srun" or "none"
  std::vector<RankFacts> ranks;
  MpiSpeed mpi;
  std::uint64_t free_bytes_needed = 0;
};

// In the order of reading: launch, processor, memory, GPUs, MPI, disk, sources, environment. REQUIRES: at least one
// rank
std::vector<Check> judge(const WorldFacts& world);

// The worst of all.
Verdict overall(const std::vector<Check>& checks);

// "fine", "slow", "wrong"
std::string to_string(Verdict verdict);

// "0-3, 7": consecutive numbers joined. REQUIRES: sorted
std::string ranges(const std::vector<int>& numbers);

}  // namespace cskd::doctor
