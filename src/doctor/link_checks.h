// Slow links between hosts, and hosts all of whose links are slow.
#pragma once

#include <string>
#include <vector>

#include "doctor/rank_facts.h"

namespace cskd::doctor {

struct SlowLinks {
  double usual_latency_microseconds = 0;
  double usual_mb_per_second = 0;
  std::vector<int> hosts;                  // most of whose links are slow
  std::vector<const LinkFacts*> links;     // the others that are slow
  std::vector<const LinkFacts*> of_hosts;  // those that are explained by the hosts
};

// A link is slow when it takes more than 5 ms, passes less than 10 MB/s, less than half of what is usual, or takes five
// times the usual time and half a millisecond more. Usual is what an eighth of the links reach at least, since most of
// them may suffer from a few hosts. Of two or more slow links of a host, six in ten make the host slow; of two hosts
// only the link can be. REQUIRES: `links` is not empty
SlowLinks find_slow_links(const std::vector<LinkFacts>& links);

}  // namespace cskd::doctor
