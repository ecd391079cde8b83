// The TCP connections of the failure detector: from every rank to rank 0.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "runtime/failure_detector.h"
#include "runtime/tcp.h"
#include "runtime/watch_message.h"

namespace cskd::runtime {

class PeerConnections {
 public:
  using Milliseconds = std::chrono::milliseconds;

  // Another rank.
  struct Peer {
    int rank = 0;
    std::string host;
  };

  explicit PeerConnections(const FailureDetector::Member& self);
  ~PeerConnections();
  PeerConnections(const PeerConnections&) = delete;
  PeerConnections& operator=(const PeerConnections&) = delete;

  // ---- the meeting

  // On rank 0: others can connect from now on, and receive() takes them in. Returns what they have to know.
  std::string listen();
  // On the others: connects, given what listen() returned. Returns what end_meeting() has to know.
  std::string connect(const std::string& offer);
  // On rank 0: entry r is what connect() returned on rank r. Returns a warning for each that could not connect.
  std::vector<std::string> end_meeting(const std::vector<std::string>& all);

  // ---- afterwards

  // Any thread. What there is no room for waits for the next message.
  void send_all(const WatchMessage& message);
  // Returns when something can be received, after wake(), and after `limit`.
  void wait(Milliseconds limit) const;
  void wake() const;

  struct News {
    std::vector<std::pair<int, WatchMessage>> messages;  // from which rank
    std::vector<Peer> ended;                             // closed without a goodbye
    std::vector<Peer> silent;                            // for `lost_after` or longer
  };
  // What came since the last call, `elapsed` ago. It, and the two below, by one thread.
  News receive(Milliseconds elapsed, Milliseconds lost_after);
  // Closes what the other side has closed.
  std::vector<Peer> close_ended();
  // Throws away what arrives. False when all are closed, or silent for `lost_after`.
  bool drain(Milliseconds lost_after);

  // Any thread.
  std::vector<FailureDetector::Link> links() const;

 private:
  struct Connection;
  // A connection that has not yet said who it is.
  struct Stranger {
    TcpSocket socket;
    std::string arrived;
  };

  bool is_welcome(Connection& rank_0, std::string& problem);
  std::vector<int> open_sockets() const;
  void take_connections();

  const FailureDetector::Member self_;
  std::string secret_;
  std::atomic<bool> has_met_{false};
  std::array<int, 2> wake_{-1, -1};
  mutable std::mutex mutex_;  // of what follows
  TcpSocket listening_;
  std::vector<Stranger> strangers_;
  std::vector<Connection> peers_;  // on rank 0 all others, elsewhere rank 0
};

// "rank 3 on n1 and ranks 8, 9 on n2"
std::string names_of(const std::vector<PeerConnections::Peer>& peers);

}  // namespace cskd::runtime
