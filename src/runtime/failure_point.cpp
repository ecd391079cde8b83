#include "runtime/failure_point.h"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <mutex>
#include <optional>

#include <fmt/format.h>
#include <fnmatch.h>

#include "runtime/error.h"

namespace cskd::runtime {
namespace {

struct Armed {
  std::string name;
  std::string object;  // empty: any
  int passages_left = 0;
  FailureAction action = FailureAction::kError;
};

std::atomic<bool> is_armed{false};
std::mutex mutex;
Armed armed;

std::optional<FailureAction> action_of(std::string_view text) {
  if (text == "error") return FailureAction::kError;
  if (text == "full") return FailureAction::kFull;
  if (text == "kill") return FailureAction::kKill;
  if (text == "halt") return FailureAction::kHalt;
  if (text == "term") return FailureAction::kTerm;
  if (text == "spoil") return FailureAction::kSpoil;
  return std::nullopt;
}

std::optional<int> passage_of(std::string_view text) {
  int nth = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), nth);
  if (status != std::errc() || end != text.data() + text.size() || nth < 1) return std::nullopt;
  return nth;
}

bool is_object(std::string_view what, const std::string& object) {
  constexpr std::string_view kTemporary = ".tmp";
  if (what.ends_with(kTemporary)) what.remove_suffix(kTemporary.size());
  // As many of the last names as the object has.
  size_t start = what.size();
  for (auto names = 1 + std::count(object.begin(), object.end(), '/'); names > 0; --names) {
    const size_t slash = start == 0 ? std::string_view::npos : what.rfind('/', start - 1);
    start = slash == std::string_view::npos ? 0 : slash;
  }
  if (what.substr(start).starts_with('/') && !object.starts_with('/')) ++start;
  return ::fnmatch(object.c_str(), std::string(what.substr(start)).c_str(), FNM_PATHNAME) == 0;
}

}  // namespace

void failure_point(std::string_view name, std::string_view what) { static_cast<void>(is_spoilt(name, what)); }

bool is_spoilt(std::string_view name, std::string_view what) {
  if (!is_armed.load(std::memory_order_relaxed)) return false;
  FailureAction action;
  {
    const std::lock_guard lock(mutex);
    if (armed.name != name || (!armed.object.empty() && !is_object(what, armed.object))) return false;
    if (--armed.passages_left != 0) return false;
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
    case FailureAction::kSpoil:
      return true;
  }
  return false;
}

void arm_failure(std::string_view place, int nth, FailureAction action) {
  const size_t at = place.find('@');
  const std::string_view name = place.substr(0, at);
  if (name.empty() || name.find_first_not_of("abcdefghijklmnopqrstuvwxyz0123456789_.") != std::string_view::npos)
    throw UsageError(fmt::format("CSKD_FAIL_AT: place is '{}', expected a name such as atomic_file.rename", name));
  if (at + 1 == place.size())
    throw UsageError(fmt::format("CSKD_FAIL_AT: nothing follows the @ of '{}', expected the end of a path", place));
  const std::string_view object = at == std::string_view::npos ? std::string_view() : place.substr(at + 1);
  const std::lock_guard lock(mutex);
  armed = {std::string(name), std::string(object), nth, action};
  is_armed.store(true, std::memory_order_relaxed);
}

void disarm_failure() noexcept { is_armed.store(false, std::memory_order_relaxed); }

void arm_failure_from_environment() {
  const char* value = std::getenv("CSKD_FAIL_AT");
  if (value == nullptr || *value == '\0') return;
  const std::string_view text(value);
  std::vector<std::string_view> parts;
  for (size_t start = 0, end = 0; end != std::string_view::npos; start = end + 1) {
    end = text.find(':', start);
    parts.push_back(text.substr(start, end - start));
  }
  int nth = 1;
  auto action = FailureAction::kError;
  size_t read = 1;
  if (const auto passage = read < parts.size() ? passage_of(parts[read]) : std::nullopt) {
    nth = *passage;
    ++read;
  }
  if (const auto found = read < parts.size() ? action_of(parts[read]) : std::nullopt) {
    action = *found;
    ++read;
  }
  if (read < parts.size()) {
    throw UsageError(
        fmt::format("CSKD_FAIL_AT: cannot read '{}' in '{}', expected <name>[@<object>][:<passage, a whole number from "
                    "1>][:<error, full, kill, halt, term or spoil>]",
                    parts[read], text));
  }
  arm_failure(parts[0], nth, action);
}

}  // namespace cskd::runtime
