#include "distributed/link_quality.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <filesystem>
#include <optional>
#include <sstream>

#include <arpa/inet.h>
#include <fmt/format.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "runtime/error.h"

namespace cskd::distributed {
namespace {

// Looks after which older losses are forgotten.
constexpr int kMemory = 12;

// The numeric address at the other end; "" when it is this host, or no TCP connection.
std::string peer_of(int descriptor) {
  int type = 0;
  socklen_t size = sizeof type;
  if (::getsockopt(descriptor, SOL_SOCKET, SO_TYPE, &type, &size) != 0 || type != SOCK_STREAM) return "";
  sockaddr_storage address{};
  size = sizeof address;
  if (::getpeername(descriptor, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (address.ss_family == AF_INET) {
    const auto& v4 = reinterpret_cast<const sockaddr_in&>(address);
    if ((ntohl(v4.sin_addr.s_addr) >> 24) == IN_LOOPBACKNET) return "";
    ::inet_ntop(AF_INET, &v4.sin_addr, text.data(), text.size());
  } else if (address.ss_family == AF_INET6) {
    const auto& v6 = reinterpret_cast<const sockaddr_in6&>(address);
    if (IN6_IS_ADDR_LOOPBACK(&v6.sin6_addr)) return "";
    if (IN6_IS_ADDR_V4MAPPED(&v6.sin6_addr)) {
      if (v6.sin6_addr.s6_addr[12] == IN_LOOPBACKNET) return "";
      ::inet_ntop(AF_INET, &v6.sin6_addr.s6_addr[12], text.data(), text.size());
    } else {
      ::inet_ntop(AF_INET6, &v6.sin6_addr, text.data(), text.size());
    }
  }
  return text.data();
}

}  // namespace

std::vector<Connection> connections_of_this_process() {
  std::vector<Connection> found;
  std::error_code ignored;
  for (const auto& entry : std::filesystem::directory_iterator("/proc/self/fd", ignored)) {
    const std::string name = entry.path().filename().native();
    int descriptor = -1;
    std::from_chars(name.data(), name.data() + name.size(), descriptor);
    const std::string peer = peer_of(descriptor);
    if (peer.empty()) continue;
    tcp_info info{};
    socklen_t size = sizeof info;
    if (::getsockopt(descriptor, IPPROTO_TCP, TCP_INFO, &info, &size) != 0 || info.tcpi_rtt == 0) continue;
    found.push_back(
        {.peer = peer,
         .round_trip_ms = info.tcpi_rtt / 1000.0,
         .sent = info.tcpi_data_segs_out,
         // Without those of which the other side says that they had come already.
         .retransmitted = info.tcpi_total_retrans - std::min(info.tcpi_total_retrans, info.tcpi_dsack_dups)});
  }
  return found;
}

std::string to_text(const std::vector<Connection>& connections) {
  std::map<std::string, Connection> peers;
  for (const Connection& each : connections) {
    Connection& peer = peers.try_emplace(each.peer, Connection{each.peer, each.round_trip_ms, 0, 0}).first->second;
    peer.round_trip_ms = std::min(peer.round_trip_ms, each.round_trip_ms);
    peer.sent += each.sent;
    peer.retransmitted += each.retransmitted;
  }
  std::string text;
  for (const auto& [name, peer] : peers)
    text += fmt::format("{} {:.3f} {} {}\n", name, peer.round_trip_ms, peer.sent, peer.retransmitted);
  return text;
}

LinkJudge::LinkJudge(std::vector<std::string> hosts, std::map<std::string, std::string> host_of_address)
    : hosts_(std::move(hosts)), host_of_address_(std::move(host_of_address)) {}

void LinkJudge::add(int rank, std::string_view text) {
  const std::lock_guard lock(mutex_);
  std::istringstream words{std::string(text)};
  std::map<std::string, Seen> now;
  for (std::string address; words >> address;) {
    Seen seen;
    if (!(words >> seen.round_trip_ms >> seen.now.sent >> seen.now.retransmitted))
      throw runtime::Error(fmt::format("rank {} sent a report of its connections that cannot be parsed", rank));
    // Some other program's, if it belongs to no host of the job.
    const auto host = host_of_address_.find(address);
    if (host == host_of_address_.end() || host->second == hosts_.at(static_cast<std::size_t>(rank))) continue;
    Seen& all = now.try_emplace(host->second, Seen{.round_trip_ms = seen.round_trip_ms}).first->second;
    all.round_trip_ms = std::min(all.round_trip_ms, seen.round_trip_ms);
    all.now.sent += seen.now.sent;
    all.now.retransmitted += seen.now.retransmitted;
  }
  for (const auto& [host, seen] : now) {
    Seen& known = seen_.try_emplace({rank, host}, Seen{.before = seen.now}).first->second;
    known.round_trip_ms = seen.round_trip_ms;
    known.now = seen.now;
    if (++known.looks % kMemory == 0 || seen.now.sent < known.before.sent) known.before = seen.now;
  }
}

std::vector<std::string> LinkJudge::bad() const {
  const std::lock_guard lock(mutex_);
  struct Link {
    std::optional<double> round_trip_ms;
    Counts counts;
  };
  std::map<Pair, Link> links;
  for (const auto& [key, seen] : seen_) {
    const std::string& own = hosts_[static_cast<std::size_t>(key.first)];
    Link& link = links[std::minmax(own, key.second)];
    link.round_trip_ms = std::min(link.round_trip_ms.value_or(seen.round_trip_ms), seen.round_trip_ms);
    link.counts.sent += seen.now.sent - seen.before.sent;
    link.counts.retransmitted += seen.now.retransmitted - std::min(seen.before.retransmitted, seen.now.retransmitted);
  }
  std::vector<double> times;
  times.reserve(links.size());
  for (const auto& [pair, link] : links) times.push_back(*link.round_trip_ms);
  std::ranges::sort(times);
  std::vector<std::string> found;
  for (const auto& [pair, link] : links) {
    const double usual = times[(times.size() - 1) / 2];
    const bool has_others = times.size() > 1;
    const std::string name = fmt::format("the network between {} and {}", pair.first, pair.second);
    if (*link.round_trip_ms > kSlowRoundTrip && (!has_others || *link.round_trip_ms > kSlowFactor * usual))
      found.push_back(fmt::format("{} is slow: {:.3g} ms there and back{}", name, *link.round_trip_ms,
                                  has_others ? fmt::format(" (other hosts {:.3g} ms)", usual) : ""));
    const double share = static_cast<double>(link.counts.retransmitted) /
                         static_cast<double>(std::max<std::uint64_t>(1, link.counts.sent));
    if (link.counts.retransmitted >= kLeastAgain && share > kLossyShare)
      found.push_back(
          fmt::format("{} loses packets: {:.2g} % of what is sent goes twice", name, std::min(1.0, share) * 100));
  }
  return found;
}

}  // namespace cskd::distributed
