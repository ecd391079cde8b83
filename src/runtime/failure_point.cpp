#include "runtime/failure_point.h"

#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <mutex>

#include <fmt/format.h>

#include "runtime/error.h"

namespace cskd::runtime {
namespace {

struct Armed {
  std::string name;
  int passages_left = 0;
  FailureAction action = FailureAction::kError;
};

std::atomic<bool> is_armed{false};
std::mutex mutex;
Armed armed;

FailureAction parse_action(std::string_view text) {
  if (text == "error") return FailureAction::kError;
  if (text == "full") return FailureAction::kFull;
  if (text == "kill") return FailureAction::kKill;
  if (text == "halt") return FailureAction::kHalt;
  if (text == "term") return FailureAction::kTerm;
  throw UsageError(fmt::format("CSKD_FAIL_AT: action is '{}', expected error, full, kill, halt or term", text));
}

}  // namespace

void failure_point(std::string_view name, std::string_view what) {
  if (!is_armed.load(std::memory_order_relaxed)) return;
  FailureAction action;
  {
    const std::lock_guard lock(mutex);
    if (armed.name != name || --armed.passages_left != 0) return;
    action = armed.action;
    is_armed.store(false, std::memory_order_relaxed);
  }
  switch (action) {
    case FailureAction::kError:
      throw_system_error(fmt::format("{} failed on {} (injected)", name, what), EIO);
    case FailureAction::kFull:
      throw_system_error(fmt::format("{} failed on {} (injected)", name, what), ENOSPC);
    case FailureAction::kKill:
      std::raise(SIGKILL);
      break;
    case FailureAction::kHalt:
      std::raise(SIGSTOP);
      break;
    case FailureAction::kTerm:
      std::raise(SIGTERM);
      break;
  }
}

void arm_failure(std::string_view name, int nth, FailureAction action) {
  const std::lock_guard lock(mutex);
  armed = {std::string(name), nth, action};
  is_armed.store(true, std::memory_order_relaxed);
}

void disarm_failure() noexcept { is_armed.store(false, std::memory_order_relaxed); }

void arm_failure_from_environment() {
  const char* value = std::getenv("CSKD_FAIL_AT");
  if (value == nullptr || *value == '\0') return;
  const std::string_view text(value);
  const size_t first = text.find(':');
  const size_t second = first == std::string_view::npos ? first : text.find(':', first + 1);
  int nth = 1;
  if (first != std::string_view::npos) {
    const std::string_view number = text.substr(first + 1, second - first - 1);
    const auto [end, status] = std::from_chars(number.data(), number.data() + number.size(), nth);
    if (status != std::errc() || end != number.data() + number.size() || nth < 1) {
      throw UsageError(fmt::format("CSKD_FAIL_AT: passage is '{}', expected a whole number from 1", number));
    }
  }
  const auto action = second == std::string_view::npos ? FailureAction::kError : parse_action(text.substr(second + 1));
  arm_failure(text.substr(0, first), nth, action);
}

}  // namespace cskd::runtime
