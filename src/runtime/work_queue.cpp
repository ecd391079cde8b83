#include "runtime/work_queue.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <deque>
#include <mutex>
#include <thread>
#include <vector>

#include "runtime/check.h"
#include "runtime/mailbox.h"
#include "runtime/stop_signal.h"

namespace cskd::runtime {
namespace {

constexpr int kToServer = 1;
constexpr int kToClient = 2;

constexpr std::chrono::microseconds kShortestPause{20};
constexpr std::chrono::microseconds kLongestPause{1000};

// What a message is, and its numbers.
enum class Kind : std::int64_t {
  kAsk,    // to the server: how many items are wanted
  kStop,   // both ways: a stop is wished for
  kLeave,  // to the server: this rank takes no more
  kItems,  // to a client: first item, count, and how many are left; a count of 0 when none is
  kBye,    // to a client: the answer to kLeave, and the last message
};

using Message = std::array<std::int64_t, 4>;

std::string packed(Kind kind, std::int64_t a = 0, std::int64_t b = 0, std::int64_t c = 0) {
  const Message message{static_cast<std::int64_t>(kind), a, b, c};
  return {reinterpret_cast<const char*>(message.data()), sizeof message};
}

Message unpacked(const std::string& text) {
  Message message{};
  CSKD_CHECK(text.size() == sizeof message, "a message of {} bytes", text.size());
  std::memcpy(message.data(), text.data(), sizeof message);
  return message;
}

// Of items that nobody has begun.
struct Share {
  std::int64_t first = 0;
  std::int64_t count = 0;
  std::int64_t left = 0;  // after it
};

class Pause {
 public:
  void wait() {
    std::this_thread::sleep_for(pause_);
    pause_ = std::min(pause_ * 2, kLongestPause);
  }
  void reset() { pause_ = kShortestPause; }

 private:
  std::chrono::microseconds pause_ = kShortestPause;
};

}  // namespace

// What rank 0 knows, and the thread that answers the others.
class WorkQueue::Server {
 public:
  Server(World& world, std::int64_t total, bool heeds_signals)
      : ranks_(world.size()),
        total_(total),
        heeds_signals_(heeds_signals),
        next_(std::min<std::int64_t>(total, world.size())),
        has_left_(static_cast<std::size_t>(world.size()), false) {}

  ~Server() { abandoned_ = true; }

  void start(Mailbox& mailbox) {
    if (ranks_ > 1) thread_ = std::jthread([this, &mailbox] { serve(mailbox); });
  }

  Share take(std::int64_t wanted) {
    const std::lock_guard lock(mutex_);
    const std::int64_t left = total_ - next_;
    const std::int64_t count = stopping_ ? 0 : std::min(left, std::max(wanted, left / (kSharesARank * ranks_)));
    next_ += count;
    return {next_ - count, count, left - count};
  }

  bool stopping() const { return stopping_; }
  void stop() { stopping_ = true; }

 private:
  static constexpr std::int64_t kSharesARank = 8;

  void serve(Mailbox& mailbox) {
    Pause pause;
    bool is_told = false;
    int left = 0;
    while (left < ranks_ - 1 && !abandoned_) {
      if (heeds_signals_ && StopSignal::received() != 0) stopping_ = true;
      if (stopping_ && !is_told) {
        is_told = true;
        for (int rank = 1; rank < ranks_; ++rank) {
          if (!has_left_[static_cast<std::size_t>(rank)]) mailbox.send(rank, kToClient, packed(Kind::kStop));
        }
      }
      const std::optional<Mailbox::Message> message = mailbox.receive(kToServer);
      if (!message) {
        pause.wait();
        continue;
      }
      pause.reset();
      const Message numbers = unpacked(message->text);
      switch (static_cast<Kind>(numbers[0])) {
        case Kind::kAsk: {
          const Share share = take(numbers[1]);
          mailbox.send(message->source, kToClient, packed(Kind::kItems, share.first, share.count, share.left));
          break;
        }
        case Kind::kStop:
          stopping_ = true;
          break;
        case Kind::kLeave:
          has_left_[static_cast<std::size_t>(message->source)] = true;
          ++left;
          mailbox.send(message->source, kToClient, packed(Kind::kBye));
          break;
        default:
          CSKD_CHECK(false, "message {} to the server", numbers[0]);
      }
    }
  }

  const int ranks_;
  const std::int64_t total_;
  const bool heeds_signals_;
  std::mutex mutex_;
  std::int64_t next_;  // under the mutex
  std::atomic<bool> stopping_{false};
  std::atomic<bool> abandoned_{false};
  std::vector<bool> has_left_;  // of the thread
  std::jthread thread_;         // last: joined before the rest goes
};

// What this rank holds.
class WorkQueue::Client {
 public:
  Client(World& world, Mailbox& mailbox, Server* server, std::int64_t total, const Options& options)
      : world_(world),
        mailbox_(mailbox),
        server_(server),
        heeds_signals_(options.heeds_signals),
        takers_(options.takers),
        left_(std::max<std::int64_t>(0, total - world.size())) {
    if (world.rank() < total) items_.push_back(world.rank());
  }

  std::optional<std::int64_t> next() {
    const std::lock_guard lock(mutex_);
    if (is_stopping()) return std::nullopt;
    while (items_.empty() && (left_ > 0 || is_asking_)) {
      ask();
      wait_for_answer();
      if (is_stopping()) return std::nullopt;
    }
    if (items_.empty()) return std::nullopt;
    const std::int64_t item = items_.front();
    items_.pop_front();
    if (items_.size() < static_cast<std::size_t>(takers_) && left_ > std::int64_t{world_.size()} * takers_) ask();
    return item;
  }

  bool stopping() {
    const std::lock_guard lock(mutex_);
    return is_stopping();
  }

  // True when a stop is wished for here, or was heard of. The server knows it then.
  bool leave() {
    const std::lock_guard lock(mutex_);
    const bool stop = is_stopping();
    CSKD_CHECK(stop || items_.empty(), "{} items were given to rank {} and not done", items_.size(), world_.rank());
    if (server_ == nullptr) {
      mailbox_.send(0, kToServer, packed(Kind::kLeave));
      for (const auto start = Clock::now(); !has_left_;) {
        if (!receive()) pause(start, "the end of shared work");
      }
    }
    return stop || stopping_;
  }

 private:
  using Clock = std::chrono::steady_clock;

  bool is_stopping() {
    while (receive()) {
    }
    if (server_ != nullptr && server_->stopping()) stopping_ = true;
    if (!stopping_ && heeds_signals_ && StopSignal::received() != 0) {
      stopping_ = true;
      if (server_ != nullptr) {
        server_->stop();
      } else {
        mailbox_.send(0, kToServer, packed(Kind::kStop));
      }
    }
    return stopping_;
  }

  void ask() {
    if (is_asking_) return;
    if (server_ != nullptr) return take(server_->take(takers_));
    is_asking_ = true;
    mailbox_.send(0, kToServer, packed(Kind::kAsk, takers_));
  }

  void wait_for_answer() {
    for (const auto start = Clock::now(); is_asking_ && !stopping_;) {
      if (!receive()) pause(start, "asking rank 0 for work");
    }
    pause_.reset();
  }

  void pause(Clock::time_point start, const char* what) {
    if (Clock::now() - start > world_.timeout()) world_.time_out(what);
    pause_.wait();
  }

  // One message, if there is any.
  bool receive() {
    if (server_ != nullptr) return false;
    const std::optional<Mailbox::Message> message = mailbox_.receive(kToClient);
    if (!message) return false;
    const Message numbers = unpacked(message->text);
    switch (static_cast<Kind>(numbers[0])) {
      case Kind::kItems:
        is_asking_ = false;
        take({numbers[1], numbers[2], numbers[3]});
        break;
      case Kind::kStop:
        stopping_ = true;
        break;
      case Kind::kBye:
        has_left_ = true;
        break;
      default:
        CSKD_CHECK(false, "message {} to a client", numbers[0]);
    }
    return true;
  }

  void take(const Share& share) {
    for (std::int64_t i = 0; i < share.count; ++i) items_.push_back(share.first + i);
    left_ = share.left;
  }

  World& world_;
  Mailbox& mailbox_;
  Server* const server_;  // on rank 0
  const bool heeds_signals_;
  const int takers_;
  std::mutex mutex_;
  std::deque<std::int64_t> items_;
  std::int64_t left_;  // at the server, as far as is known here
  bool is_asking_ = false;
  bool stopping_ = false;
  bool has_left_ = false;
  Pause pause_;
};

WorkQueue::WorkQueue(World& world, std::int64_t total, Options options)
    : world_(world), heeds_signals_(options.heeds_signals), mailbox_(std::make_unique<Mailbox>(world)) {
  CSKD_CHECK(total >= 0 && options.takers >= 1, "{} items for {} takers", total, options.takers);
  if (world.rank() == 0) server_ = std::make_unique<Server>(world, total, heeds_signals_);
  client_ = std::make_unique<Client>(world, *mailbox_, server_.get(), total, options);
  if (server_) server_->start(*mailbox_);
}

WorkQueue::~WorkQueue() = default;

std::optional<std::int64_t> WorkQueue::next() { return client_->next(); }

bool WorkQueue::stopping() { return client_->stopping(); }

void WorkQueue::finish(const std::string& doing) {
  const bool stop = client_->leave();
  if (world_.any(stop) && heeds_signals_) throw Stopped(doing);
}

}  // namespace cskd::runtime
