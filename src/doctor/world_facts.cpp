#include "doctor/world_facts.h"

#include <cmath>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/check.h"

namespace cskd::doctor {

std::vector<Ranks> by_host(const WorldFacts& world) {
  std::vector<Ranks> hosts;
  for (const RankFacts& rank : world.ranks) {
    const auto node = static_cast<std::size_t>(rank.node);
    if (hosts.size() <= node) hosts.resize(node + 1);
    hosts[node].push_back(&rank);
  }
  std::erase_if(hosts, [](const Ranks& ranks) { return ranks.empty(); });
  return hosts;
}

Ranks leaders(const WorldFacts& world) {
  Ranks first;
  for (const Ranks& host : by_host(world)) first.push_back(host.front());
  return first;
}

Ranks everyone(const WorldFacts& world) {
  Ranks all;
  for (const RankFacts& rank : world.ranks) all.push_back(&rank);
  return all;
}

std::string listed(const std::vector<std::string>& names) {
  constexpr std::size_t kShown = 3;
  std::vector<std::string> unique;
  for (const std::string& name : names) {
    if (std::find(unique.begin(), unique.end(), name) == unique.end()) unique.push_back(name);
  }
  if (unique.empty()) return "";
  if (unique.size() == 1) return unique.front();
  const std::size_t shown = unique.size() > kShown + 1 ? kShown : unique.size() - 1;
  const std::string last = unique.size() - shown == 1 ? unique.back() : fmt::format("{} more", unique.size() - shown);
  unique.resize(shown);
  return fmt::format("{} and {}", fmt::join(unique, ", "), last);
}

std::string hosts_of(const Ranks& ranks) {
  std::vector<std::string> names;
  for (const RankFacts* rank : ranks) names.push_back(rank->host);
  return listed(names);
}

bool are_of_one_host(const Ranks& ranks) {
  return std::all_of(ranks.begin(), ranks.end(),
                     [&](const RankFacts* rank) { return rank->host == ranks.front()->host; });
}

double quantile(std::vector<double> values, double share) {
  CSKD_CHECK(!values.empty(), "a quantile of nothing");
  std::sort(values.begin(), values.end());
  const auto place = static_cast<std::size_t>(std::ceil(share * static_cast<double>(values.size())));
  return values[std::clamp<std::size_t>(place, 1, values.size()) - 1];
}

}  // namespace cskd::doctor
