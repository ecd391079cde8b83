// The facts of all ranks, seen by hosts.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "doctor/mpi_probe.h"
#include "doctor/rank_facts.h"
#include "runtime/counted.h"

namespace cskd::doctor {

// [r] of rank r, and what rank 0 measured.
struct WorldFacts {
  std::string launcher;  // "mpirun", "srun" or "none"
  std::vector<RankFacts> ranks;
  MpiSpeed mpi;
  std::uint64_t free_bytes_needed = 0;
  std::vector<std::string> impossible;  // why the stages of the configuration cannot be done
  std::vector<std::string> weights;     // what the weight files of the configuration hold, and under which licence
};

using Ranks = std::vector<const RankFacts*>;

// The ranks of each host, in their order; hosts in the order of their numbers.
std::vector<Ranks> by_host(const WorldFacts& world);
// The first rank of each host, which knows what only one of them looks at.
Ranks leaders(const WorldFacts& world);

// "n3", "n3 and n5", "n1, n2, n3 and 97 more": each name once.
std::string listed(const std::vector<std::string>& names);
std::string hosts_of(const Ranks& ranks);
// Whether all are of one, for the verb that follows.
bool are_of_one_host(const Ranks& ranks);
using runtime::counted;

// What most ranks have, and those that have something else.
template <typename Value>
struct Majority {
  Value value{};
  Ranks others;
};
template <typename Of>
auto majority(const Ranks& ranks, const Of& of) {
  using Value = decltype(of(*ranks.front()));
  std::map<Value, std::size_t> counts;
  for (const RankFacts* rank : ranks) ++counts[of(*rank)];
  std::size_t most = 0;
  for (const auto& [value, count] : counts) most = std::max(most, count);
  // Of values that as many have, that of the lowest rank.
  Majority<Value> found;
  for (const RankFacts* rank : ranks) {
    if (counts[of(*rank)] != most) continue;
    found.value = of(*rank);
    break;
  }
  for (const RankFacts* rank : ranks) {
    if (!(of(*rank) == found.value)) found.others.push_back(rank);
  }
  return found;
}

// All ranks.
Ranks everyone(const WorldFacts& world);

// The value below which `share` of them lie; the next one that there is. REQUIRES: not empty
double quantile(std::vector<double> values, double share);

}  // namespace cskd::doctor
