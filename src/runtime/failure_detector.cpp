#include "runtime/failure_detector.h"

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <sstream>
#include <thread>
#include <utility>

#include <fmt/format.h>
#include <mpi.h>

#include "runtime/check.h"
#include "runtime/error.h"
#include "runtime/logging.h"
#include "runtime/peer_connections.h"

namespace cskd::runtime {
namespace {

using Clock = std::chrono::steady_clock;
using Milliseconds = std::chrono::milliseconds;
using Kind = WatchMessage::Kind;

constexpr Milliseconds kSignOfLife{1000};
constexpr Milliseconds kOthersAreGone{100};  // ranks of one host go together, but not at the same moment
constexpr Milliseconds kLastWords{3000};
constexpr Milliseconds kLinger{1500};
constexpr Milliseconds kAbort{5000};
// srun drops what a task wrote where it hears of the last task's end before it has read that.
constexpr Milliseconds kPassedOn{250};

}  // namespace

class FailureDetector::Watcher {
 public:
  Watcher(const Member& self, const Exchange& exchange) : self_(self), connections_(self) {
    if (self.size == 1) return;
    if (self.rank == 0) {
      // Takes the others' connections while they exchange how it went.
      const std::string offer = connections_.listen();
      thread_ = std::thread([this] { watch(); });
      exchange.broadcast(offer);
      warnings_ = connections_.end_meeting(exchange.all_gather(""));
    } else {
      exchange.all_gather(connections_.connect(exchange.broadcast("")));
      thread_ = std::thread([this] { watch(); });
    }
  }

  ~Watcher() {
    if (self_.size == 1) return;
    stopping_ = true;
    connections_.wake();
    thread_.join();
  }

  PeerConnections& connections() { return connections_; }
  const std::vector<std::string>& warnings() const { return warnings_; }
  void set_lost_after(Milliseconds silence) { lost_after_ = silence; }
  void stand_aside() { is_aside_ = true; }

  struct Hooks {
    std::function<void(const std::string&)> last_words;
    std::function<void(int, const std::string&)> end;
    std::function<std::string()> report;
    std::function<void(int, const std::string&)> on_report;
  };

  template <typename Change>
  void change_hooks(const Change& change) {
    const std::lock_guard lock(hooks_mutex_);
    change(hooks_);
  }

 private:
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
      connections_.wait(std::chrono::duration_cast<Milliseconds>(next_sign - Clock::now()));
      look(elapsed);
    }
  }

  void give_sign_of_life() {
    const Hooks hooks = current_hooks();
    const std::string report = hooks.report ? hooks.report() : std::string();
    connections_.send_all({Kind::kAlive, self_.rank == 0 ? std::string() : report});
    if (self_.rank == 0 && !report.empty() && hooks.on_report) hooks.on_report(0, report);
  }

  // Reads what has come, and judges.
  void look(Milliseconds elapsed) {
    PeerConnections::News news = connections_.receive(elapsed, lost_after_.load());
    for (const auto& [rank, message] : news.messages) act(rank, message);
    if (!news.ended.empty()) lose_ended(std::move(news.ended));
    if (!news.silent.empty()) {
      end(1,
          fmt::format("{} gave no sign of life for {} s (compute.lost_after): the host is off or cut off the network, "
                      "or the process is stopped",
                      names_of(news.silent),
                      std::chrono::duration_cast<std::chrono::seconds>(lost_after_.load()).count()),
          Origin::kSilence);
    }
  }

  void act(int rank, const WatchMessage& message) {
    if (message.kind == Kind::kAlive && !message.text.empty()) {
      if (const Hooks hooks = current_hooks(); hooks.on_report) hooks.on_report(rank, message.text);
    } else if (message.kind == Kind::kEnd) {
      std::istringstream words(message.text);
      int code = 1;
      words >> code;
      words.get();
      std::string what;
      std::getline(words, what, '\0');
      end(code, what, Origin::kOther);
    }
  }

  void lose_ended(std::vector<PeerConnections::Peer> ended) {
    const auto deadline = Clock::now() + kOthersAreGone;
    while (Clock::now() < deadline && self_.rank == 0) {
      std::this_thread::sleep_for(Milliseconds(10));
      for (PeerConnections::Peer& peer : connections_.close_ended()) ended.push_back(std::move(peer));
    }
    end(1,
        fmt::format("{} {} gone: ended without a word (killed, out of memory, crashed, or the host restarted)",
                    names_of(ended), ended.size() == 1 ? "is" : "are"),
        Origin::kOwnLook);
  }

  enum class Origin { kOwnLook, kSilence, kOther };

  // Does not return, unless somebody else takes care of the end.
  void end(int code, const std::string& what, Origin origin) {
    if (is_aside_ || is_ending_.exchange(true)) return;
    if (self_.rank == 0) connections_.send_all({Kind::kEnd, fmt::format("{} {}", code, what)});
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
      std::this_thread::sleep_for(kPassedOn);
    }
    linger();
    // What is stopped, or on a host that is cut off, only the launcher can end.
    if (origin == Origin::kSilence) MPI_Abort(MPI_COMM_WORLD, code);
    std::_Exit(code);
  }

  // A connection that ends with something unread may take with it what was sent last: so the others go first.
  void linger() {
    const auto deadline = Clock::now() + kLinger;
    while (self_.rank == 0 && Clock::now() < deadline && connections_.drain(lost_after_.load()))
      std::this_thread::sleep_for(Milliseconds(10));
  }

  Hooks current_hooks() {
    const std::lock_guard lock(hooks_mutex_);
    return hooks_;
  }

  const Member self_;
  PeerConnections connections_;
  std::vector<std::string> warnings_;
  std::atomic<Milliseconds> lost_after_{Milliseconds(60'000)};
  std::atomic<bool> is_aside_{false};
  std::atomic<bool> is_ending_{false};
  std::atomic<bool> stopping_{false};
  std::mutex hooks_mutex_;
  Hooks hooks_;
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
  watcher_->connections().send_all({WatchMessage::Kind::kEnd, fmt::format("{} {}", exit_code, what)});
}

void FailureDetector::say_goodbye() { watcher_->connections().send_all({WatchMessage::Kind::kGoodbye, ""}); }

std::vector<FailureDetector::Link> FailureDetector::links() const { return watcher_->connections().links(); }

}  // namespace cskd::runtime
