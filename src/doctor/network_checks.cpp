#include <algorithm>
#include <cmath>
#include <sstream>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "doctor/checks.h"
#include "doctor/link_checks.h"

namespace cskd::doctor {
namespace {

constexpr double kSlowLatencyMicroseconds = 1000;
constexpr double kSlowBusGbPerSecond = 0.5;
constexpr double kSlowClockSeconds = 1;
constexpr double kWrongClockSeconds = 30;
constexpr double kSentAgain = 0.001;  // of TCP segments
constexpr std::uint64_t kFewSegments = 1000;

std::string rate_text(double mb_per_second) {
  if (mb_per_second >= 1000) return fmt::format("{:.1f} GB/s", mb_per_second / 1000);
  return fmt::format("{:.{}f} MB/s", mb_per_second, mb_per_second < 10 ? 1 : 0);
}

std::string latency_text(double microseconds) {
  if (microseconds >= 1000) return fmt::format("{:.1f} ms", microseconds / 1000);
  return fmt::format("{:.0f} us", microseconds);
}

Check check_mpi(const WorldFacts& world) {
  const RankFacts& first = world.ranks.front();
  const std::string transports =
      first.mpi_transports.empty() ? "no transport" : fmt::format("{}", fmt::join(first.mpi_transports, ", "));
  std::string found = fmt::format("{}, {}", first.libraries.contains("MPI") ? first.libraries.at("MPI") : "MPI",
                                  first.mpi_thread_level);
  if (world.ranks.size() == 1) return {"MPI", Verdict::kFine, found, ""};
  found += fmt::format(", {}; all-reduce {:.1f} us for 4 B, {:.2f} GB/s for {:.0f} MiB", transports,
                       world.mpi.latency_microseconds, world.mpi.bus_gb_per_second,
                       static_cast<double>(world.mpi.bytes) / 0x1p20);
  const bool several_hosts = world.ranks.back().node > 0;
  if (world.mpi.latency_microseconds > kSlowLatencyMicroseconds) {
    return {"MPI", Verdict::kSlow, found,
            "with more ranks than cores set OMPI_MCA_mpi_yield_when_idle=1; otherwise look at the network"};
  }
  if (world.mpi.bus_gb_per_second < (several_hosts ? 0.1 : 1) * kSlowBusGbPerSecond) {
    return {"MPI", Verdict::kSlow, found,
            several_hosts
                ? "use an MPI with the transport of your network (UCX, OFI), or choose the fast interface with "
                  "OMPI_MCA_btl_tcp_if_include"
                : "ranks of one host should use shared memory (vader); look at OMPI_MCA_btl"};
  }
  return {"MPI", Verdict::kFine, found, ""};
}

Check check_sums(const WorldFacts& world) {
  Ranks wrong;
  for (const RankFacts& rank : world.ranks) {
    if (!rank.all_reduce_problem.empty()) wrong.push_back(&rank);
  }
  if (wrong.empty()) return {"sums", Verdict::kFine, "all-reduces of whole and real numbers give what they must", ""};
  return {
      "sums", Verdict::kWrong,
      fmt::format("rank {} on {}: {}{}", wrong.front()->rank, wrong.front()->host, wrong.front()->all_reduce_problem,
                  wrong.size() == 1 ? "" : fmt::format(", and {}", counted(wrong.size() - 1, "other rank"))),
      "leave that host out: its processor, memory or network card changes numbers"};
}

std::string host_name_of(const Ranks& hosts, int node) {
  for (const RankFacts* host : hosts) {
    if (host->node == node) return host->host;
  }
  return fmt::format("host {}", node);
}

Checks check_links(const WorldFacts& world) {
  const Ranks hosts = leaders(world);
  std::vector<LinkFacts> links;
  for (const RankFacts* host : hosts) {
    links.insert(links.end(), host->network.links.begin(), host->network.links.end());
  }
  if (links.empty()) return {};
  Checks checks;
  for (const LinkFacts& link : links) {
    if (!link.is_damaged) continue;
    checks.push_back({"links", Verdict::kWrong,
                      fmt::format("what {} sent to {} came back changed", host_name_of(hosts, link.from),
                                  host_name_of(hosts, link.to)),
                      "leave one of the two out: a network card, cable or memory changes bits"});
    break;
  }
  const SlowLinks slow = find_slow_links(links);
  const std::string usual =
      fmt::format("{}, {}", rate_text(slow.usual_mb_per_second), latency_text(slow.usual_latency_microseconds));
  for (const int host : slow.hosts) {
    std::vector<double> latencies;
    std::vector<double> rates;
    for (const LinkFacts* link : slow.of_hosts) {
      if (link->from != host && link->to != host) continue;
      latencies.push_back(link->latency_microseconds);
      rates.push_back(link->mb_per_second);
    }
    if (rates.empty()) continue;
    checks.push_back({"links", Verdict::kSlow,
                      fmt::format("{} is slow to reach: {}, {} over {}; usual are {}", host_name_of(hosts, host),
                                  rate_text(quantile(rates, 0.5)), latency_text(quantile(latencies, 0.5)),
                                  counted(rates.size(), "link"), usual),
                      "look at its network card, cable and interface, or leave that host out"});
  }
  constexpr std::size_t kShown = 4;
  for (std::size_t i = 0; i < std::min(slow.links.size(), kShown); ++i) {
    const LinkFacts& link = *slow.links[i];
    const std::size_t more = i + 1 == kShown ? slow.links.size() - kShown : 0;
    checks.push_back(
        {"links", Verdict::kSlow,
         fmt::format("{} and {}: {}, {}; usual are {}{}", host_name_of(hosts, link.from), host_name_of(hosts, link.to),
                     rate_text(link.mb_per_second), latency_text(link.latency_microseconds), usual,
                     more == 0 ? "" : fmt::format("; {} more are slow", more)),
         "look at the network between them (cables, switch, packet loss), or leave one of them out"});
  }
  Ranks lossy;
  double worst = 0;
  for (const RankFacts* host : hosts) {
    const TcpCount& count = host->network.segments;
    if (count.sent < kFewSegments) continue;
    const double share = static_cast<double>(count.sent_again) / static_cast<double>(count.sent);
    if (share < kSentAgain) continue;
    lossy.push_back(host);
    worst = std::max(worst, share);
  }
  if (!lossy.empty()) {
    checks.push_back(
        {"links", Verdict::kSlow,
         fmt::format("{} had to send {}{:.1f} % of {} TCP packets again", hosts_of(lossy),
                     are_of_one_host(lossy) ? "" : "up to ", 100 * worst, are_of_one_host(lossy) ? "its" : "their"),
         "packets get lost: look at cables, ports and the switch of that host"});
  }
  if (checks.empty()) {
    const std::size_t pairs = hosts.size() * (hosts.size() - 1) / 2;
    checks.push_back({"links", Verdict::kFine,
                      fmt::format("{} of {} between {}: {}", links.size(), counted(pairs, "pair"),
                                  counted(hosts.size(), "host"), usual),
                      ""});
  }
  return checks;
}

Checks check_clocks(const WorldFacts& world) {
  const Ranks hosts = leaders(world);
  if (hosts.size() < 2) return {};
  std::vector<double> all;
  for (const RankFacts* host : hosts) all.push_back(host->clock.ahead_seconds);
  // Most clocks are right, rank 0's may not be. Of two, neither is.
  const double usual = hosts.size() == 2 ? 0 : quantile(all, 0.5);
  const double usual_error = hosts.front()->clock.ahead_seconds == usual ? 0 : 1e-3;
  Ranks off;
  const RankFacts* worst = hosts.front();
  const auto certain = [&](const RankFacts& host) {
    return std::max(0.0, std::abs(host.clock.ahead_seconds - usual) - host.clock.error_seconds - usual_error);
  };
  double loosest = 0;
  for (const RankFacts* host : hosts) {
    if (certain(*host) > kSlowClockSeconds) off.push_back(host);
    if (certain(*host) > certain(*worst)) worst = host;
    loosest = std::max(loosest, host->clock.error_seconds);
  }
  if (off.empty()) {
    const auto [low, high] = std::minmax_element(all.begin(), all.end());
    return {
        {"clocks", Verdict::kFine, fmt::format("{:.3f} s apart, known to {:.1f} ms", *high - *low, 1e3 * loosest), ""}};
  }
  const double ahead = worst->clock.ahead_seconds - usual;
  const bool is_wrong = certain(*worst) > kWrongClockSeconds;
  std::string found = fmt::format(
      "{} is {:.1f} s {} {} (known to {:.1f} ms)", worst->host, std::abs(ahead), ahead > 0 ? "ahead of" : "behind",
      hosts.size() == 2 ? hosts.front()->host : "the others", 1e3 * worst->clock.error_seconds);
  if (off.size() > 1) found += fmt::format("; off are {}", hosts_of(off));
  return {
      {"clocks", is_wrong ? Verdict::kWrong : Verdict::kSlow, found,
       "synchronise the hosts (chrony, ntpd): deadlines, the times of files and the run lock's signs of life do not "
       "compare otherwise"}};
}

// Whether an interface is meant by NCCL_SOCKET_IFNAME: prefixes between commas, or "=" and whole names; "^" excludes.
bool names_interface(const std::string& value, const std::vector<std::string>& interfaces) {
  if (value.empty() || value.front() == '^') return true;
  const bool whole = value.front() == '=';
  std::istringstream parts(whole ? value.substr(1) : value);
  for (std::string part; std::getline(parts, part, ',');) {
    for (const std::string& interface : interfaces) {
      if (whole ? interface == part : interface.starts_with(part)) return true;
    }
  }
  return false;
}

// Open MPI takes names, or networks such as 10.0.0.0/8, which are not looked at.
bool names_all_interfaces(const std::string& value, const std::vector<std::string>& interfaces) {
  std::istringstream parts(value);
  for (std::string part; std::getline(parts, part, ',');) {
    if (part.find('/') != std::string::npos || part == "lo") continue;
    if (std::find(interfaces.begin(), interfaces.end(), part) == interfaces.end()) return false;
  }
  return true;
}

Checks check_interfaces(const WorldFacts& world) {
  struct Variable {
    const char* name;
    bool (*is_met)(const std::string&, const std::vector<std::string>&);
  };
  constexpr Variable kVariables[] = {{"NCCL_SOCKET_IFNAME", names_interface},
                                     {"OMPI_MCA_btl_tcp_if_include", names_all_interfaces},
                                     {"OMPI_MCA_oob_tcp_if_include", names_all_interfaces}};
  Checks checks;
  for (const Variable& variable : kVariables) {
    Ranks without;
    for (const RankFacts* host : leaders(world)) {
      const auto value = host->environment.find(variable.name);
      if (value != host->environment.end() && !variable.is_met(value->second, host->network.interfaces))
        without.push_back(host);
    }
    if (without.empty()) continue;
    checks.push_back({variable.name, Verdict::kWrong,
                      fmt::format("'{}', but {} {} {}", without.front()->environment.at(variable.name),
                                  hosts_of(without), are_of_one_host(without) ? "has" : "have",
                                  without.front()->network.interfaces.empty()
                                      ? "no interface that is up"
                                      : fmt::format("{}", fmt::join(without.front()->network.interfaces, ", "))),
                      "name an interface that is up on every host, or unset it"});
  }
  return checks;
}

Checks check_fabric(const WorldFacts& world) {
  const Ranks hosts = leaders(world);
  const auto active = [](const RankFacts& rank) {
    return std::count_if(rank.network.fabric.begin(), rank.network.fabric.end(),
                         [](const FabricPort& port) { return port.state == "ACTIVE"; });
  };
  const auto most = majority(hosts, active);
  if (!most.others.empty()) {
    const RankFacts& odd = *most.others.front();
    std::string down;
    for (const FabricPort& port : odd.network.fabric) {
      if (port.state != "ACTIVE") down += fmt::format("{}{} is {}", down.empty() ? " (" : ", ", port.name, port.state);
    }
    return {{"RDMA", Verdict::kSlow,
             fmt::format("{}: {} active, elsewhere {}{}", hosts_of(most.others),
                         counted(static_cast<std::size_t>(active(odd)), "port"), most.value,
                         down.empty() ? "" : down + ")"),
             "have cables and subnet manager looked at, or leave that host out: NCCL takes the slow way to it"}};
  }
  const auto rate = [](const RankFacts& rank) {
    std::string rates;
    for (const FabricPort& port : rank.network.fabric) {
      if (port.state == "ACTIVE") rates += (rates.empty() ? "" : ", ") + port.rate;
    }
    return rates;
  };
  const auto rates = majority(hosts, rate);
  if (!rates.others.empty()) {
    return {{"RDMA", Verdict::kSlow,
             fmt::format("{}: {}, elsewhere {}", hosts_of(rates.others), rate(*rates.others.front()), rates.value),
             "a port that came up at a lower rate: have its cable looked at, or leave that host out"}};
  }
  const RankFacts& first = *hosts.front();
  if (most.value > 0) {
    const auto disabled = first.environment.find("NCCL_IB_DISABLE");
    const bool is_used = disabled == first.environment.end() || disabled->second != "1";
    return {{"RDMA", Verdict::kFine,
             fmt::format("{} on each host ({}){}", counted(static_cast<std::size_t>(most.value), "active port"),
                         rates.value, is_used ? "; NCCL will use them" : "; NCCL is told not to use them"),
             ""}};
  }
  if (hosts.size() < 2 || first.accelerators.gpus.empty()) return {};
  return {{"RDMA", Verdict::kFine,
           fmt::format("none; NCCL will use TCP over {}",
                       first.network.interfaces.empty() ? "whatever is up"
                                                        : fmt::format("{}", fmt::join(first.network.interfaces, ", "))),
           ""}};
}

}  // namespace

Checks check_network(const WorldFacts& world) {
  Checks checks{check_mpi(world), check_sums(world)};
  for (const auto part : {check_links, check_fabric, check_interfaces, check_clocks}) {
    for (Check& check : part(world)) checks.push_back(std::move(check));
  }
  return checks;
}

}  // namespace cskd::doctor
