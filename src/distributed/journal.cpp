#include "distributed/journal.h"

#include <algorithm>
#include <utility>

#include <fmt/chrono.h>
#include <fmt/format.h>

#include "runtime/free_space.h"

namespace cskd::distributed {
namespace {

using Time = Collective::Time;

Time now() { return std::chrono::steady_clock::now(); }

double seconds(Time from, Time to) { return std::chrono::duration<double>(to - from).count(); }

// The time of day, as it was if nobody has set the clock since.
std::string clock_text(Time time) {
  const auto of_day =
      std::chrono::system_clock::now() - std::chrono::duration_cast<std::chrono::system_clock::duration>(now() - time);
  const auto milliseconds =
      std::chrono::duration_cast<std::chrono::milliseconds>(of_day.time_since_epoch()).count() % 1000;
  return fmt::format("{:%H:%M:%S}.{:03}", fmt::gmtime(std::chrono::system_clock::to_time_t(of_day)), milliseconds);
}

std::string duration_text(double value) {
  return value < 1 ? fmt::format("{:.2f} ms", 1000 * value) : fmt::format("{:.2f} s", value);
}

}  // namespace

std::uint64_t Journal::queue(std::string kind, std::uint64_t bytes, std::string label) {
  const std::lock_guard lock(mutex_);
  if (collectives_.size() == capacity_) collectives_.pop_front();
  collectives_.push_back({++queued_, std::move(kind), bytes, std::move(label), now(), std::nullopt, std::nullopt});
  return queued_;
}

const Collective* Journal::find(std::uint64_t number) const {
  if (collectives_.empty() || number < collectives_.front().number || number > queued_) return nullptr;
  return &collectives_[number - collectives_.front().number];
}

Collective* Journal::find(std::uint64_t number) { return const_cast<Collective*>(std::as_const(*this).find(number)); }

void Journal::start(std::uint64_t number, Time time) {
  const std::lock_guard lock(mutex_);
  if (Collective* const found = find(number)) found->started = time;
}

void Journal::end(std::uint64_t number, Time time) {
  const std::lock_guard lock(mutex_);
  if (Collective* const found = find(number)) found->ended = time;
}

void Journal::enter(std::string phase) {
  const std::lock_guard lock(mutex_);
  phase_ = std::move(phase);
  phase_since_ = now();
}

std::vector<Collective> Journal::collectives() const {
  const std::lock_guard lock(mutex_);
  return {collectives_.begin(), collectives_.end()};
}

std::optional<Collective> Journal::pending() const {
  const std::lock_guard lock(mutex_);
  const auto found = std::find_if(collectives_.begin(), collectives_.end(),
                                  [](const Collective& collective) { return !collective.ended; });
  return found == collectives_.end() ? std::nullopt : std::optional(*found);
}

std::uint64_t Journal::queued() const {
  const std::lock_guard lock(mutex_);
  return queued_;
}

std::optional<Collective> Journal::collective(std::uint64_t number) const {
  const std::lock_guard lock(mutex_);
  const Collective* const found = find(number);
  return found == nullptr ? std::nullopt : std::optional(*found);
}

std::string Journal::state() const {
  const std::lock_guard lock(mutex_);
  const std::string phase = fmt::format("in '{}' for {:.1f} s", phase_, seconds(phase_since_, now()));
  if (collectives_.empty()) return phase + ", no collective yet";
  const Collective& last = collectives_.back();
  if (last.ended) return fmt::format("{}, after {}", phase, describe(last));
  const auto oldest =
      std::find_if(collectives_.begin(), collectives_.end(), [](const Collective& each) { return !each.ended; });
  return fmt::format("{}, waits for {}{} since {:.1f} s", phase, describe(*oldest),
                     oldest->started ? "" : ", which never began,", seconds(oldest->queued, now()));
}

std::string Journal::text(const std::string& title) const {
  const std::vector<Collective> all = collectives();
  const Time at = now();
  std::string text =
      fmt::format("{}\n{}, {} UTC\n\n{:>10}  {:<14} {:>10}  {:<12}  {:>10}  {:>14}  {}\n", title, state(),
                  clock_text(at), "number", "kind", "size", "asked for", "waited", "took", "what for");
  for (const Collective& each : all) {
    const std::string waited = duration_text(seconds(each.queued, each.started.value_or(at)));
    const std::string took = each.ended     ? duration_text(seconds(each.started.value_or(each.queued), *each.ended))
                             : each.started ? "not done"
                                            : "not begun";
    text += fmt::format("{:>10}  {:<14} {:>10}  {:<12}  {:>10}  {:>14}  {}\n", each.number, each.kind,
                        runtime::format_bytes(each.bytes), clock_text(each.queued), waited, took, each.label);
  }
  return text;
}

std::string describe(const Collective& collective) {
  return fmt::format("{} {} of {}{}", collective.kind, collective.number, runtime::format_bytes(collective.bytes),
                     collective.label.empty() ? "" : fmt::format(" ({})", collective.label));
}

}  // namespace cskd::distributed
