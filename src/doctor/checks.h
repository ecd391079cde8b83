// The meaning of the gathered facts: each is fine, slow (works, but costs time) or wrong (will fail), with a remedy.
#pragma once

#include <string>
#include <vector>

#include "doctor/world_facts.h"

namespace cskd::doctor {

enum class Verdict { kFine, kSlow, kWrong };

struct Check {
  std::string name;
  Verdict verdict = Verdict::kFine;
  std::string found;
  std::string remedy;  // empty when fine
};
using Checks = std::vector<Check>;

// In the order of reading: launch, processor, memory, GPUs, network, disk, sources, stages, environment.
// REQUIRES: at least one rank
Checks judge(const WorldFacts& world);

// Ranks that run different programs or read different configurations: what they tell of themselves means nothing more.
// Of their identities alone; empty when they are equal.
Checks judge(const std::vector<Identity>& identities);

// The worst of all.
Verdict overall(const Checks& checks);

// "fine", "slow", "wrong"
std::string to_string(Verdict verdict);

// "0-3, 7": consecutive numbers joined. REQUIRES: sorted
std::string ranges(const std::vector<int>& numbers);

// The parts of judge(), a file each.
Checks check_program(const WorldFacts& world);      // builds, libraries, processors, configurations
Checks check_hosts(const WorldFacts& world);        // cores, speed, memory, limits, numbers
Checks check_gpus(const WorldFacts& world);         // how many, whose, and their health
Checks check_network(const WorldFacts& world);      // MPI, sums, links, RDMA, clocks
Checks check_folder(const WorldFacts& world);       // the run folder, between hosts, and its disk
Checks check_sources(const WorldFacts& world);      // what the configuration reads
Checks check_stages(const WorldFacts& world);       // its weight files, and whether what it asks for can be done
Checks check_environment(const WorldFacts& world);  // variables that change how cskd runs

}  // namespace cskd::doctor
