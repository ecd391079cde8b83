#include "runtime/peer_connections.h"

#include <algorithm>
#include <cerrno>
#include <map>
#include <optional>
#include <sstream>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <poll.h>
#include <sys/random.h>
#include <unistd.h>

#include "runtime/error.h"
#include "runtime/open_files.h"

namespace cskd::runtime {
namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;
using Kind = WatchMessage::Kind;

constexpr Milliseconds kConnect{3000};  // to one address

std::string random_secret() {
  std::array<unsigned char, 16> bytes{};
  if (::getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size()))
    throw_system_error("cannot draw random numbers", errno);
  return fmt::format("{:02x}", fmt::join(bytes, ""));
}

// Waits until one of the sockets, or the pipe's end `wake`, can be read.
void wait_for_any(const std::vector<int>& sockets, int wake, Milliseconds limit) {
  std::vector<pollfd> waiting{{.fd = wake, .events = POLLIN, .revents = 0}};
  for (const int socket : sockets) waiting.push_back({.fd = socket, .events = POLLIN, .revents = 0});
  ::poll(waiting.data(), waiting.size(), static_cast<int>(std::max(limit, Milliseconds(0)).count()));
  std::array<char, 64> bytes{};
  while (::read(wake, bytes.data(), bytes.size()) > 0) {
  }
}

}  // namespace

struct PeerConnections::Connection {
  Peer peer;
  TcpSocket socket;
  std::string arrived;
  std::string unsent;
  Milliseconds silence{0};
  bool said_goodbye = false;

  // What there is no room for waits for the next message. Signs of life for one that reads nothing are left out.
  void send(const std::string& bytes) {
    if (unsent.size() < kLongestWatchMessage) unsent += bytes;
    socket.send(unsent);
  }
};

PeerConnections::PeerConnections(const FailureDetector::Member& self) : self_(self) {
  if (self.size > 1 && ::pipe2(wake_.data(), O_CLOEXEC | O_NONBLOCK) != 0)
    throw_system_error("cannot create a pipe", errno);
}

PeerConnections::~PeerConnections() {
  for (const int end : wake_) {
    if (end >= 0) ::close(end);
  }
}

std::string PeerConnections::listen() {
  raise_open_files_limit();
  std::uint16_t port = 0;
  listening_ = listen_anywhere(port);
  secret_ = random_secret();
  peers_.resize(static_cast<std::size_t>(self_.size) - 1);
  for (std::size_t i = 0; i < peers_.size(); ++i) peers_[i].peer.rank = static_cast<int>(i) + 1;
  return fmt::format("{} {} {} {}", secret_, port, self_.host, fmt::join(host_addresses(), " "));
}

std::vector<std::string> PeerConnections::end_meeting(const std::vector<std::string>& all) {
  has_met_ = true;
  std::vector<std::string> warnings;
  {
    const std::lock_guard lock(mutex_);
    for (Connection& connection : peers_) {
      Peer& peer = connection.peer;
      const std::string& text = all[static_cast<std::size_t>(peer.rank)];
      const std::size_t end = text.find('\n');
      peer.host = text.substr(0, end);
      if (end + 1 < text.size())
        warnings.push_back(
            fmt::format("rank {} on {} cannot reach rank 0 on {} by TCP ({}): its loss will be noticed by time-outs "
                        "only; let the hosts of a job connect to each other",
                        peer.rank, peer.host, self_.host, text.substr(end + 1)));
    }
  }
  wake();
  return warnings;
}

std::string PeerConnections::connect(const std::string& offer) {
  std::istringstream words(offer);
  Connection& rank_0 = peers_.emplace_back();
  std::uint16_t port = 0;
  std::vector<std::string> addresses;
  words >> secret_ >> port >> rank_0.peer.host;
  for (std::string address; words >> address;) addresses.push_back(address);
  addresses = nearest_first(std::move(addresses));
  if (rank_0.peer.host == self_.host) addresses.insert(addresses.begin(), "127.0.0.1");
  std::string problems;
  for (const std::string& address : addresses) {
    std::string problem;
    rank_0.socket = connect_to(address, port, kConnect, problem);
    if (rank_0.socket.is_open() && is_welcome(rank_0, problem)) break;
    rank_0.socket.close();
    rank_0.unsent.clear();
    rank_0.arrived.clear();
    problems += (problems.empty() ? "" : "; ") + problem;
  }
  if (rank_0.socket.is_open()) problems.clear();
  return self_.host + "\n" + problems;
}

bool PeerConnections::is_welcome(Connection& rank_0, std::string& problem) {
  rank_0.send(to_bytes({Kind::kHello, fmt::format("{} {}", secret_, self_.rank)}));
  const auto deadline = Clock::now() + kConnect;
  while (Clock::now() < deadline) {
    wait_for_any({rank_0.socket.descriptor()}, wake_[0],
                 std::chrono::duration_cast<Milliseconds>(deadline - Clock::now()));
    if (!rank_0.socket.receive(rank_0.arrived)) break;
    const std::optional<WatchMessage> message = take_message(rank_0.arrived);
    if (message && message->kind == Kind::kWelcome && message->text == secret_) return true;
  }
  problem = "another program answers there";
  return false;
}

// Rank 0, under the mutex.
void PeerConnections::take_connections() {
  if (!listening_.is_open()) return;
  if (has_met_) {
    listening_.close();
    strangers_.clear();
    return;
  }
  while (auto socket = accept_one(listening_)) strangers_.push_back({std::move(*socket), {}});
  for (Stranger& stranger : strangers_) {
    if (!stranger.socket.receive(stranger.arrived)) stranger.socket.close();
    const std::optional<WatchMessage> message =
        stranger.socket.is_open() ? take_message(stranger.arrived) : std::nullopt;
    if (!message) continue;
    std::istringstream words(message->text);
    std::string secret;
    int rank = 0;
    words >> secret >> rank;
    if (message->kind == Kind::kHello && secret == secret_ && rank > 0 && rank < self_.size) {
      Connection& connection = peers_[static_cast<std::size_t>(rank) - 1];
      connection.socket = std::move(stranger.socket);
      connection.arrived = std::move(stranger.arrived);
      connection.send(to_bytes({Kind::kWelcome, secret_}));
    }
    stranger.socket.close();
  }
  std::erase_if(strangers_, [](const Stranger& stranger) { return !stranger.socket.is_open(); });
}

void PeerConnections::send_all(const WatchMessage& message) {
  const std::string bytes = to_bytes({message.kind, message.text.substr(0, kLongestWatchMessage)});
  const std::lock_guard lock(mutex_);
  for (Connection& connection : peers_) {
    if (connection.socket.is_open()) connection.send(bytes);
  }
}

void PeerConnections::wait(Milliseconds limit) const { wait_for_any(open_sockets(), wake_[0], limit); }

void PeerConnections::wake() const {
  const char byte = 0;
  static_cast<void>(!::write(wake_[1], &byte, 1));
}

std::vector<int> PeerConnections::open_sockets() const {
  const std::lock_guard lock(mutex_);
  std::vector<int> open;
  if (listening_.is_open()) open.push_back(listening_.descriptor());
  for (const Stranger& stranger : strangers_) open.push_back(stranger.socket.descriptor());
  for (const Connection& connection : peers_) {
    if (connection.socket.is_open()) open.push_back(connection.socket.descriptor());
  }
  return open;
}

PeerConnections::News PeerConnections::receive(Milliseconds elapsed, Milliseconds lost_after) {
  News news;
  const std::lock_guard lock(mutex_);
  take_connections();
  for (Connection& connection : peers_) {
    if (!connection.socket.is_open()) continue;
    const std::size_t before = connection.arrived.size();
    const bool is_there = connection.socket.receive(connection.arrived);
    connection.silence = connection.arrived.size() > before ? Milliseconds(0) : connection.silence + elapsed;
    while (std::optional<WatchMessage> message = take_message(connection.arrived)) {
      if (message->kind == Kind::kGoodbye) connection.said_goodbye = true;
      news.messages.emplace_back(connection.peer.rank, std::move(*message));
    }
    if (!is_there) {
      connection.socket.close();
      if (!connection.said_goodbye) news.ended.push_back(connection.peer);
    } else if (!connection.said_goodbye && connection.silence >= lost_after) {
      news.silent.push_back(connection.peer);
    }
  }
  return news;
}

std::vector<PeerConnections::Peer> PeerConnections::close_ended() {
  std::vector<Peer> ended;
  const std::lock_guard lock(mutex_);
  for (Connection& connection : peers_) {
    if (!connection.socket.is_open() || connection.socket.receive(connection.arrived)) continue;
    connection.socket.close();
    ended.push_back(connection.peer);
  }
  return ended;
}

bool PeerConnections::drain(Milliseconds lost_after) {
  bool any = false;
  std::string ignored;
  const std::lock_guard lock(mutex_);
  for (Connection& connection : peers_) {
    if (!connection.socket.is_open()) continue;
    if (!connection.socket.receive(ignored)) connection.socket.close();
    any = any || (connection.socket.is_open() && connection.silence < lost_after);
  }
  return any;
}

std::vector<FailureDetector::Link> PeerConnections::links() const {
  const std::lock_guard lock(mutex_);
  std::vector<FailureDetector::Link> found;
  for (const Connection& connection : peers_) {
    const auto quality = connection.socket.is_open() ? connection.socket.quality() : std::nullopt;
    if (!quality) continue;
    found.push_back({.rank = connection.peer.rank,
                     .host = connection.peer.host,
                     .round_trip_ms = quality->round_trip_ms,
                     .sent = quality->sent,
                     .retransmitted = quality->retransmitted});
  }
  return found;
}

std::string names_of(const std::vector<PeerConnections::Peer>& peers) {
  std::map<std::string, std::vector<int>> ranks;
  for (const PeerConnections::Peer& peer : peers) ranks[peer.host].push_back(peer.rank);
  std::string text;
  for (const auto& [host, all] : ranks)
    text += fmt::format("{}rank{} {} on {}", text.empty() ? "" : " and ", all.size() == 1 ? "" : "s",
                        fmt::join(all, ", "), host);
  return text;
}

}  // namespace cskd::runtime
