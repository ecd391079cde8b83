// The quality of the network between the hosts of a job, by what the kernels know of its TCP connections.
//
// Note [Which link is slow]
// Every rank looks at its own connections (MPI's over TCP, the failure detector's) every few seconds: the round trip
// that the kernel measures, and how many segments were sent again. Rank 0 adds up what ranks report of each pair of
// hosts, and names pairs that are far worse than a network of one room should be, and than the others. Nothing is sent
// for it but the signs of life. Networks that are no TCP (InfiniBand verbs) are not seen.
#pragma once

#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace cskd::distributed {

constexpr double kSlowRoundTrip = 20;      // milliseconds
constexpr double kSlowFactor = 5;          // of the median of all links, where there are several
constexpr double kLossyShare = 0.005;      // of segments, lost
constexpr std::uint64_t kLeastAgain = 30;  // segments lost, before anything is said

// A connection of this process to another host.
struct Connection {
  std::string peer;                 // numeric address
  double round_trip_ms = 0;         // smoothed
  std::uint64_t sent = 0;           // segments with data, so far
  std::uint64_t retransmitted = 0;  // of them, sent again because they were lost
};

// TCP connections of this process that leave the host.
std::vector<Connection> connections_of_this_process();

// For LinkJudge::add(): one line for each other host, the best round trip of its connections, and sums.
std::string to_text(const std::vector<Connection>& connections);

// On rank 0. Any thread.
class LinkJudge {
 public:
  // Host of each rank, and the host of each address that a host has.
  LinkJudge(std::vector<std::string> hosts, std::map<std::string, std::string> host_of_address);

  // A rank's report of its connections. Throws Error when it cannot be parsed.
  void add(int rank, std::string_view text);
  // Links that are bad now, a line each: "the network between n1 and n2 is slow: 52 ms there and back (other hosts:
  // 0.2 ms)", "... loses packets: 1.2 % are sent again".
  std::vector<std::string> bad() const;

 private:
  struct Counts {
    std::uint64_t sent = 0;
    std::uint64_t retransmitted = 0;
  };
  struct Seen {
    double round_trip_ms = 0;
    Counts now;
    Counts before;  // as of the looks some time ago
    int looks = 0;
  };
  using Pair = std::pair<std::string, std::string>;  // hosts, in order

  mutable std::mutex mutex_;
  const std::vector<std::string> hosts_;
  const std::map<std::string, std::string> host_of_address_;
  std::map<std::pair<int, std::string>, Seen> seen_;  // by rank and other host
};

}  // namespace cskd::distributed
