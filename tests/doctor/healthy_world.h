// Facts of healthy jobs, for tests that spoil one of them, and what is found then.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "doctor/checks.h"

namespace cskd::doctor {

inline constexpr std::uint64_t kGiB = std::uint64_t{1} << 30;

// Rank `rank` of a healthy job with `ranks_per_node` ranks on nodes of 8 cores, bound to its share of them.
RankFacts healthy_rank(int rank, int ranks_per_node);

WorldFacts healthy_world(int hosts, int ranks_per_host);

// Every host has as many GPUs as ranks.
WorldFacts world_with_gpus(int hosts, int each);

// The first rank of a host. Throws std::out_of_range.
RankFacts& host(WorldFacts& world, int node);

// Changes all links of a host.
void change_links(WorldFacts& world, int node, const std::function<void(LinkFacts&)>& change);

// The worst check of that name. Fails the test when there is none.
Check find(const WorldFacts& world, const std::string& name);

void expect_fine(const WorldFacts& world);

}  // namespace cskd::doctor
