#include "runtime/failure_detector.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <mutex>
#include <optional>
#include <sstream>
#include <thread>
#include <utility>

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <mpi.h>
#include <poll.h>
#include <sys/random.h>
#include <unistd.h>

#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/logging.h"
#include "runtime/open_files.h"
#include "runtime/tcp.h"

namespace cskd::runtime {
namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;

constexpr Milliseconds kSignOfLife{1000};
constexpr Milliseconds kConnect{3000};       // to one address
constexpr Milliseconds kOthersAreGone{100};  // ranks of one host go together, but not at the same moment
constexpr Milliseconds kLastWords{3000};
constexpr Milliseconds kLinger{1500};
constexpr Milliseconds kAbort{5000};
constexpr std::size_t kLongestMessage = 1 << 16;

enum class Kind : char {
  kHello = 'h',    // to rank 0: the job's secret and the rank
  kWelcome = 'w',  // from rank 0
  kAlive = 'a',    // a sign of life, with a report
  kGoodbye = 'g',
  kEnd = 'e',  // exit code, and what happened: everybody ends
};

// Length, kind, text.
std::string framed(Kind kind, const std::string& text) {
  const auto length = static_cast<std::uint32_t>(text.size());
  std::string frame(reinterpret_cast<const char*>(&length), sizeof length);
  frame += static_cast<char>(kind);
  return frame + text;
}

struct Frame {
  Kind kind = Kind::kAlive;
  std::string text;
};

// The first whole frame of what has arrived, taken out of it.
std::optional<Frame> take_frame(std::string& arrived) {
  std::uint32_t length = 0;
  constexpr std::size_t kHeader = sizeof length + 1;
  if (arrived.size() < kHeader) return std::nullopt;
  std::memcpy(&length, arrived.data(), sizeof length);
  if (length > kLongestMessage || arrived.size() < kHeader + length) return std::nullopt;
  Frame frame{static_cast<Kind>(arrived[sizeof length]), arrived.substr(kHeader, length)};
  arrived.erase(0, kHeader + length);
  return frame;
}

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

// Another rank, as this one sees it.
struct Peer {
  int rank = 0;
  std::string host;
  TcpSocket socket;
  std::string arrived;
  std::string unsent;
  Milliseconds silence{0};
  bool said_goodbye = false;

  // What there is no room for waits for the next message. Signs of life for one that reads nothing are left out.
  void send(const std::string& frame) {
    if (unsent.size() < kLongestMessage) unsent += frame;
    socket.send(unsent);
  }
};

// A connection that has not yet said who it is.
struct Stranger {
  TcpSocket socket;
  std::string arrived;
};

// "rank 3 on n1 and ranks 8, 9 on n2"
std::string names_of(const std::vector<const Peer*>& peers) {
  std::map<std::string, std::vector<int>> ranks;
  for (const Peer* peer : peers) ranks[peer->host].push_back(peer->rank);
  std::string text;
  for (const auto& [host, all] : ranks)
    text += fmt::format("{}rank{} {} on {}", text.empty() ? "" : " and ", all.size() == 1 ? "" : "s",
                        fmt::join(all, ", "), host);
  return text;
}

}  // namespace

class FailureDetector::Watcher {
 public:
  Watcher(const Member& self, const Exchange& exchange) : self_(self) {
    if (self.size == 1) return;
    if (::pipe2(wake_.data(), O_CLOEXEC | O_NONBLOCK) != 0) throw_system_error("cannot create a pipe", errno);
    if (self.rank == 0) {
      receive_others(exchange);
    } else {
      go_to_rank_0(exchange);
    }
  }

  ~Watcher() {
    if (self_.size == 1) return;
    stopping_ = true;
    wake();
    thread_.join();
    for (const int end : wake_) ::close(end);
  }

  const std::vector<std::string>& warnings() const { return warnings_; }
  void set_lost_after(Milliseconds silence) { lost_after_ = silence; }
  void stand_aside() { is_aside_ = true; }

  template <typename Change>
  void change_hooks(const Change& change) {
    const std::lock_guard lock(hooks_mutex_);
    change(hooks_);
  }

  struct Hooks {
    std::function<void(const std::string&)> last_words;
    std::function<void(int, const std::string&)> end;
    std::function<std::string()> report;
    std::function<void(int, const std::string&)> on_report;
  };

  void tell_all(Kind kind, const std::string& text) {
    const std::lock_guard lock(mutex_);
    for (Peer& peer : peers_) {
      if (peer.socket.is_open()) peer.send(framed(kind, text.substr(0, kLongestMessage)));
    }
  }

  std::vector<Link> links() const {
    const std::lock_guard lock(mutex_);
    std::vector<Link> found;
    for (const Peer& peer : peers_) {
      const auto quality = peer.socket.is_open() ? peer.socket.quality() : std::nullopt;
      if (!quality) continue;
      found.push_back({.rank = peer.rank,
                       .host = peer.host,
                       .round_trip_ms = quality->round_trip_ms,
                       .sent = quality->sent,
                       .retransmitted = quality->retransmitted});
    }
    return found;
  }

 private:
  // Rank 0: takes the others' connections while they exchange how it went.
  void receive_others(const Exchange& exchange) {
    raise_open_files_limit();
    std::uint16_t port = 0;
    listening_ = listen_anywhere(port);
    secret_ = random_secret();
    peers_.resize(static_cast<std::size_t>(self_.size) - 1);
    for (std::size_t i = 0; i < peers_.size(); ++i) peers_[i].rank = static_cast<int>(i) + 1;
    thread_ = std::thread([this] { watch(); });
    exchange.broadcast(fmt::format("{} {} {} {}", secret_, port, self_.host, fmt::join(host_addresses(), " ")));
    const std::vector<std::string> all = exchange.all_gather("");
    has_met_ = true;
    const std::lock_guard lock(mutex_);
    for (Peer& peer : peers_) {
      const std::string& text = all[static_cast<std::size_t>(peer.rank)];
      const std::size_t end = text.find('\n');
      peer.host = text.substr(0, end);
      if (end + 1 < text.size())
        warnings_.push_back(
            fmt::format("rank {} on {} cannot reach rank 0 on {} by TCP ({}): its loss will be noticed by time-outs "
                        "only; let the hosts of a job connect to each other",
                        peer.rank, peer.host, self_.host, text.substr(end + 1)));
    }
    wake();
  }

  void go_to_rank_0(const Exchange& exchange) {
    std::istringstream words(exchange.broadcast(""));
    Peer& rank_0 = peers_.emplace_back();
    std::uint16_t port = 0;
    std::vector<std::string> addresses;
    words >> secret_ >> port >> rank_0.host;
    for (std::string address; words >> address;) addresses.push_back(address);
    addresses = nearest_first(std::move(addresses));
    if (rank_0.host == self_.host) addresses.insert(addresses.begin(), "127.0.0.1");
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
    exchange.all_gather(self_.host + "\n" + problems);
    thread_ = std::thread([this] { watch(); });
  }

  bool is_welcome(Peer& rank_0, std::string& problem) {
    rank_0.send(framed(Kind::kHello, fmt::format("{} {}", secret_, self_.rank)));
    const auto deadline = Clock::now() + kConnect;
    while (Clock::now() < deadline) {
      wait_for_any({rank_0.socket.descriptor()}, wake_[0],
                   std::chrono::duration_cast<Milliseconds>(deadline - Clock::now()));
      if (!rank_0.socket.receive(rank_0.arrived)) break;
      const std::optional<Frame> frame = take_frame(rank_0.arrived);
      if (frame && frame->kind == Kind::kWelcome && frame->text == secret_) return true;
    }
    problem = "another program answers there";
    return false;
  }

  // ---- the thread
  // -----------------------------------------------------------------------------------------------------

  void watch() {
    auto last = Clock::now();
    auto next_sign = last;
    while (!stopping_) {
      const auto now = Clock::now();
      if (now >= next_sign) {
        give_sign_of_life();
        next_sign = now + kSignOfLife;
      }
      // A process that was stopped itself has heard nothing: that says nothing about the others.
      const Milliseconds elapsed = std::min(std::chrono::duration_cast<Milliseconds>(now - last), 2 * kSignOfLife);
      last = now;
      wait_for_any(open_sockets(), wake_[0], std::chrono::duration_cast<Milliseconds>(next_sign - Clock::now()));
      look(elapsed);
    }
  }

  // Only this thread closes any.
  std::vector<int> open_sockets() const {
    const std::lock_guard lock(mutex_);
    std::vector<int> open;
    if (listening_.is_open()) open.push_back(listening_.descriptor());
    for (const Stranger& stranger : strangers_) open.push_back(stranger.socket.descriptor());
    for (const Peer& peer : peers_) {
      if (peer.socket.is_open()) open.push_back(peer.socket.descriptor());
    }
    return open;
  }

  void give_sign_of_life() {
    const Hooks hooks = current_hooks();
    const std::string report = hooks.report ? hooks.report() : std::string();
    tell_all(Kind::kAlive, self_.rank == 0 ? std::string() : report);
    if (self_.rank == 0 && !report.empty() && hooks.on_report) hooks.on_report(0, report);
  }

  // Reads what is there, and judges.
  void look(Milliseconds elapsed) {
    std::vector<std::pair<int, Frame>> frames;
    std::vector<const Peer*> ended;
    std::vector<const Peer*> silent;
    {
      const std::lock_guard lock(mutex_);
      take_connections();
      for (Peer& peer : peers_) {
        if (!peer.socket.is_open()) continue;
        const std::size_t before = peer.arrived.size();
        const bool is_there = peer.socket.receive(peer.arrived);
        peer.silence = peer.arrived.size() > before ? Milliseconds(0) : peer.silence + elapsed;
        while (const std::optional<Frame> frame = take_frame(peer.arrived)) {
          if (frame->kind == Kind::kGoodbye) peer.said_goodbye = true;
          frames.emplace_back(peer.rank, *frame);
        }
        if (!is_there) {
          peer.socket.close();
          if (!peer.said_goodbye) ended.push_back(&peer);
        } else if (!peer.said_goodbye && peer.silence >= lost_after_.load()) {
          silent.push_back(&peer);
        }
      }
    }
    for (const auto& [rank, frame] : frames) act(rank, frame);
    if (!ended.empty()) lose_ended(std::move(ended));
    if (!silent.empty()) {
      end(1,
          fmt::format("{} gave no sign of life for {} s (compute.lost_after): the host is off or cut off the network, "
                      "or the process is stopped",
                      names_of(silent), std::chrono::duration_cast<std::chrono::seconds>(lost_after_.load()).count()),
          Origin::kSilence);
    }
  }

  void act(int rank, const Frame& frame) {
    if (frame.kind == Kind::kAlive && !frame.text.empty()) {
      if (const Hooks hooks = current_hooks(); hooks.on_report) hooks.on_report(rank, frame.text);
    } else if (frame.kind == Kind::kEnd) {
      std::istringstream words(frame.text);
      int code = 1;
      words >> code;
      words.get();
      std::string what;
      std::getline(words, what, '\0');
      end(code, what, Origin::kOther);
    }
  }

  void lose_ended(std::vector<const Peer*> ended) {
    const auto deadline = Clock::now() + kOthersAreGone;
    while (Clock::now() < deadline && self_.rank == 0) {
      std::this_thread::sleep_for(Milliseconds(10));
      const std::lock_guard lock(mutex_);
      for (Peer& peer : peers_) {
        if (!peer.socket.is_open() || peer.socket.receive(peer.arrived)) continue;
        peer.socket.close();
        ended.push_back(&peer);
      }
    }
    end(1,
        fmt::format("{} {} gone: ended without a word (killed, out of memory, crashed, or the host restarted)",
                    names_of(ended), ended.size() == 1 ? "is" : "are"),
        Origin::kOwnLook);
  }

  // Rank 0, under the mutex.
  void take_connections() {
    if (!listening_.is_open()) return;
    if (has_met_) {
      listening_.close();
      strangers_.clear();
      return;
    }
    while (auto socket = accept_one(listening_)) strangers_.push_back({std::move(*socket), {}});
    for (Stranger& stranger : strangers_) {
      if (!stranger.socket.receive(stranger.arrived)) stranger.socket.close();
      const std::optional<Frame> frame = stranger.socket.is_open() ? take_frame(stranger.arrived) : std::nullopt;
      if (!frame) continue;
      std::istringstream words(frame->text);
      std::string secret;
      int rank = 0;
      words >> secret >> rank;
      if (frame->kind == Kind::kHello && secret == secret_ && rank > 0 && rank < self_.size) {
        Peer& peer = peers_[static_cast<std::size_t>(rank) - 1];
        peer.socket = std::move(stranger.socket);
        peer.arrived = std::move(stranger.arrived);
        peer.send(framed(Kind::kWelcome, secret_));
      }
      stranger.socket.close();
    }
    std::erase_if(strangers_, [](const Stranger& stranger) { return !stranger.socket.is_open(); });
  }

  // ---- the end
  // --------------------------------------------------------------------------------------------------------

  enum class Origin { kOwnLook, kSilence, kOther };

  // Does not return, unless somebody else takes care of the end.
  void end(int code, const std::string& what, Origin origin) {
    if (is_aside_ || is_ending_.exchange(true)) return;
    if (self_.rank == 0) tell_all(Kind::kEnd, fmt::format("{} {}", code, what));
    const Hooks hooks = current_hooks();
    if (hooks.end) return hooks.end(code, what);
    std::thread([code] {
      std::this_thread::sleep_for(kLastWords + kLinger + kAbort);
      std::_Exit(code);
    }).detach();
    if (hooks.last_words) hooks.last_words(what);
    log_to_file(what);
    // One rank says it for all, where one can.
    if (origin != Origin::kOther) {
      std::fflush(stdout);
      std::fprintf(stderr, "%s\n", describe(std::vector<std::string>{what}, self_.rank, self_.size).c_str());
      std::fflush(stderr);
    }
    linger();
    // What is stopped, or on a host that is cut off, only the launcher can end.
    if (origin == Origin::kSilence) MPI_Abort(MPI_COMM_WORLD, code);
    std::_Exit(code);
  }

  // A connection that ends with something unread may take with it what was sent last: so the others go first.
  void linger() {
    const auto deadline = Clock::now() + kLinger;
    while (self_.rank == 0 && Clock::now() < deadline) {
      const std::lock_guard lock(mutex_);
      bool any = false;
      std::string ignored;
      for (Peer& peer : peers_) {
        if (!peer.socket.is_open()) continue;
        if (!peer.socket.receive(ignored)) peer.socket.close();
        any = any || (peer.socket.is_open() && peer.silence < lost_after_.load());
      }
      if (!any) return;
      std::this_thread::sleep_for(Milliseconds(10));
    }
  }

  Hooks current_hooks() {
    const std::lock_guard lock(hooks_mutex_);
    return hooks_;
  }

  void wake() {
    const char byte = 0;
    static_cast<void>(!::write(wake_[1], &byte, 1));
  }

  const Member self_;
  std::string secret_;
  std::vector<std::string> warnings_;
  std::atomic<Milliseconds> lost_after_{Milliseconds(60'000)};
  std::atomic<bool> has_met_{false};
  std::atomic<bool> is_aside_{false};
  std::atomic<bool> is_ending_{false};
  std::atomic<bool> stopping_{false};
  std::array<int, 2> wake_{-1, -1};
  std::mutex hooks_mutex_;
  Hooks hooks_;
  mutable std::mutex mutex_;  // of what follows
  TcpSocket listening_;
  std::vector<Stranger> strangers_;
  std::vector<Peer> peers_;  // on rank 0 all others, elsewhere rank 0
  std::thread thread_;
};

FailureDetector::FailureDetector(const Member& self, const Exchange& exchange)
    : watcher_(std::make_unique<Watcher>(self, exchange)) {}

FailureDetector::~FailureDetector() = default;

const std::vector<std::string>& FailureDetector::warnings() const { return watcher_->warnings(); }

void FailureDetector::set_lost_after(std::chrono::milliseconds silence) {
  CSKD_CHECK(silence > 2 * kSignOfLife, "lost after {} ms", silence.count());
  watcher_->set_lost_after(silence);
}

void FailureDetector::set_last_words(std::function<void(const std::string&)> last_words) {
  watcher_->change_hooks([&](Watcher::Hooks& hooks) { hooks.last_words = std::move(last_words); });
}

void FailureDetector::set_end(std::function<void(int, const std::string&)> end) {
  watcher_->change_hooks([&](Watcher::Hooks& hooks) { hooks.end = std::move(end); });
}

void FailureDetector::set_report(std::function<std::string()> report) {
  watcher_->change_hooks([&](Watcher::Hooks& hooks) { hooks.report = std::move(report); });
}

void FailureDetector::set_on_report(std::function<void(int, const std::string&)> on_report) {
  watcher_->change_hooks([&](Watcher::Hooks& hooks) { hooks.on_report = std::move(on_report); });
}

void FailureDetector::stand_aside() { watcher_->stand_aside(); }

void FailureDetector::announce_failure(int exit_code, const std::string& what) {
  watcher_->stand_aside();
  watcher_->tell_all(Kind::kEnd, fmt::format("{} {}", exit_code, what));
}

void FailureDetector::say_goodbye() { watcher_->tell_all(Kind::kGoodbye, ""); }

std::vector<FailureDetector::Link> FailureDetector::links() const { return watcher_->links(); }

}  // namespace cskd::runtime
