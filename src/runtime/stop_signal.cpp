#include "runtime/stop_signal.h"

#include <array>
#include <atomic>
#include <csignal>

#include "runtime/check.h"

namespace cskd::runtime {
namespace {

constexpr std::array<int, 4> kSignals{SIGUSR1, SIGTERM, SIGINT, SIGHUP};

std::atomic<int> first_signal{0};
std::atomic<StopSignal::Clock::rep> first_ticks{0};  // when it arrived
std::atomic<bool> is_installed{false};
// In the steady clock's ticks. Without a deadline, the last moment there is.
constexpr auto kNever = StopSignal::Clock::time_point::max().time_since_epoch().count();
constexpr StopSignal::Clock::duration kFirstReserve = std::chrono::seconds(5);
std::atomic<StopSignal::Clock::rep> deadline_ticks{kNever};
std::atomic<StopSignal::Clock::rep> reserved_ticks{kFirstReserve.count()};
std::array<struct sigaction, kSignals.size()> previous;

static_assert(std::atomic<int>::is_always_lock_free && std::atomic<StopSignal::Clock::rep>::is_always_lock_free,
              "a signal handler may only touch lock-free atomics");

// The clock is clock_gettime(), which a signal handler may call.
extern "C" void on_stop_signal(int number) {
  const StopSignal::Clock::rep now = StopSignal::Clock::now().time_since_epoch().count();
  StopSignal::Clock::rep never = 0;
  first_ticks.compare_exchange_strong(never, now);
  int none = 0;
  if (first_signal.compare_exchange_strong(none, number)) return;
  if (now - first_ticks.load() < StopSignal::Clock::duration(StopSignal::kRepeats).count()) return;
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  ::sigaction(number, &by_default, nullptr);
  ::raise(number);
}

}  // namespace

StopSignal::StopSignal(std::optional<Clock::time_point> deadline) {
  CSKD_CHECK(!is_installed.exchange(true), "two StopSignal objects at once");
  first_signal = 0;
  first_ticks = 0;
  reserved_ticks = kFirstReserve.count();
  deadline_ticks = deadline ? deadline->time_since_epoch().count() : kNever;
  struct sigaction action {};
  action.sa_handler = on_stop_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < kSignals.size(); ++i) {
    ::sigaction(kSignals[i], &action, &previous[i]);
    if (kSignals[i] == SIGHUP && previous[i].sa_handler == SIG_IGN) ::sigaction(SIGHUP, &previous[i], nullptr);
  }
}

StopSignal::~StopSignal() {
  for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &previous[i], nullptr);
  deadline_ticks = kNever;
  first_signal = 0;
  is_installed = false;
}

int StopSignal::received() noexcept {
  const Clock::rep deadline = deadline_ticks.load();
  if (deadline != kNever && Clock::now().time_since_epoch().count() >= deadline - reserved_ticks.load()) {
    int none = 0;
    first_signal.compare_exchange_strong(none, SIGALRM);
  }
  return first_signal.load();
}

void StopSignal::reserve(std::chrono::duration<double> time) noexcept {
  reserved_ticks = std::chrono::duration_cast<Clock::duration>(time).count();
}

}  // namespace cskd::runtime
