// Latency, bandwidth and clocks between hosts.
#pragma once

#include <string>
#include <vector>

#include "doctor/rank_facts.h"
#include "runtime/world.h"

namespace cskd::doctor {

struct LinkProbe {
  ClockFacts clock;              // of this host
  std::vector<LinkFacts> links;  // of this host to those with a higher number
  TcpCount segments;             // that this host sent meanwhile
};

struct Host {
  std::string name;
  int rank = 0;  // its first
};
// Collective.
std::vector<Host> hosts_of(runtime::World& world);

// The first ranks of the hosts talk in pairs, each with one other at a time: with every other one up to `most_rounds`
// hosts, beyond that with so many of them (tournament.h). Each pair takes a fraction of a second, a very slow one up to
// three. The clock of each host is asked by rank 0, and the answer with the shortest way counts.
// Collective: every rank must call. Throws Error that names both hosts when one does not answer for 20 s.
// `own` is the place among them of the host whose first rank this is; -1 for other ranks, which learn nothing.
LinkProbe probe_links(runtime::World& world, const std::vector<Host>& hosts, int own, int most_rounds = 16);

}  // namespace cskd::doctor
