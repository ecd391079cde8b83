#include "runtime/stop_signal.h"

#include <array>
#include <atomic>
#include <csignal>

#include "runtime/check.h"

namespace cskd::runtime {
namespace {

constexpr std::array<int, 3> kSignals{SIGUSR1, SIGTERM, SIGINT};

std::atomic<int> first_signal{0};
std::atomic<bool> is_installed{false};
std::array<struct sigaction, kSignals.size()> previous;

static_assert(std::atomic<int>::is_always_lock_free, "a signal handler may only touch lock-free atomics");

extern "C" void on_stop_signal(int number) {
  int none = 0;
  if (first_signal.compare_exchange_strong(none, number)) return;
  struct sigaction by_default {};
  by_default.sa_handler = SIG_DFL;
  ::sigaction(number, &by_default, nullptr);
  ::raise(number);
}

}  // namespace

StopSignal::StopSignal() {
  CSKD_CHECK(!is_installed.exchange(true), "two StopSignal objects at once");
  first_signal = 0;
  struct sigaction action {};
  action.sa_handler = on_stop_signal;
  action.sa_flags = SA_RESTART;
  sigemptyset(&action.sa_mask);
  for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &action, &previous[i]);
}

StopSignal::~StopSignal() {
  for (size_t i = 0; i < kSignals.size(); ++i) ::sigaction(kSignals[i], &previous[i], nullptr);
  first_signal = 0;
  is_installed = false;
}

int StopSignal::received() noexcept { return first_signal.load(); }

}  // namespace cskd::runtime
