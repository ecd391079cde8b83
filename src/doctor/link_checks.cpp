#include "doctor/link_checks.h"

#include <algorithm>
#include <cstddef>
#include <map>

#include "doctor/world_facts.h"

namespace cskd::doctor {
namespace {

constexpr double kSlowLatency = 5000;  // microseconds
constexpr double kSlowRate = 10;       // MB/s
constexpr double kUsual = 0.875;

struct Count {
  std::size_t all = 0;
  std::size_t slow = 0;
};

}  // namespace

SlowLinks find_slow_links(const std::vector<LinkFacts>& links) {
  SlowLinks found;
  std::vector<double> latencies;
  std::vector<double> rates;
  for (const LinkFacts& link : links) {
    latencies.push_back(link.latency_microseconds);
    rates.push_back(link.mb_per_second);
  }
  found.usual_latency_microseconds = quantile(latencies, 1 - kUsual);
  found.usual_mb_per_second = quantile(rates, kUsual);
  const auto is_slow = [&](const LinkFacts& link) {
    return link.latency_microseconds > kSlowLatency || link.mb_per_second < kSlowRate ||
           link.mb_per_second < 0.5 * found.usual_mb_per_second ||
           link.latency_microseconds >
               std::max(5 * found.usual_latency_microseconds, found.usual_latency_microseconds + 500);
  };
  std::map<int, Count> of_host;
  for (const LinkFacts& link : links) {
    for (const int host : {link.from, link.to}) {
      ++of_host[host].all;
      of_host[host].slow += is_slow(link) ? 1 : 0;
    }
    if (is_slow(link)) found.links.push_back(&link);
  }
  // The worst host first; what it explains does not count for the others.
  for (;;) {
    const auto worst = std::max_element(of_host.begin(), of_host.end(),
                                        [](const auto& a, const auto& b) { return a.second.slow < b.second.slow; });
    if (worst->second.slow < 2 || worst->second.slow * 10 < worst->second.all * 6) return found;
    const int host = worst->first;
    found.hosts.push_back(host);
    std::erase_if(found.links, [&](const LinkFacts* link) {
      if (link->from != host && link->to != host) return false;
      const int other = link->from == host ? link->to : link->from;
      --of_host[other].slow;
      --of_host[other].all;
      found.of_hosts.push_back(link);
      return true;
    });
    of_host.erase(host);
    if (of_host.empty()) return found;
  }
}

}  // namespace cskd::doctor
