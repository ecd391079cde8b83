#include "distributed/pace.h"

#include <algorithm>
#include <array>
#include <set>
#include <sstream>
#include <utility>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/check.h"
#include "runtime/error.h"

namespace cskd::distributed {
namespace {

constexpr std::size_t kMostPending = 64;  // windows that some ranks have not reported yet

double seconds_between(Collective::Time from, Collective::Time to) {
  return std::chrono::duration<double>(to - from).count();
}

// Of all values but that at `left_out`, which `sorted` holds too.
double median_of_others(const std::vector<double>& sorted, double left_out) {
  const auto place = static_cast<std::size_t>(std::ranges::lower_bound(sorted, left_out) - sorted.begin());
  const auto other = [&](std::size_t i) { return sorted[i < place ? i : i + 1]; };
  const std::size_t count = sorted.size() - 1;
  return count % 2 == 1 ? other(count / 2) : (other(count / 2 - 1) + other(count / 2)) / 2;
}

std::string time_text(double seconds) {
  return seconds < 1 ? fmt::format("{:.3g} ms", seconds * 1000) : fmt::format("{:.3g} s", seconds);
}

}  // namespace

void PaceMeter::add(std::uint64_t step, const ReduceStatistics& reduced, const StepParts& parts) {
  CSKD_CHECK(!reduced.buckets.empty(), "step {} has no buckets", step);
  const BucketTiming& last = reduced.buckets.back();
  const std::lock_guard lock(mutex_);
  const std::optional<Collective::Time> before = std::exchange(last_end_, last.ended);
  if (step / kPaceSteps != window_) {
    window_ = step / kPaceSteps;
    steps_ = 0;
    busy_ = 0;
    parts_ = {};
  }
  if (!before) return;
  ++steps_;
  busy_ += seconds_between(*before, last.ready);
  parts_.data += parts.data;
  parts_.checkpoint += parts.checkpoint;
  parts_.reports += parts.reports;
  if (step % kPaceSteps + 1 < kPaceSteps || steps_ < kLeastPaceSteps) return;
  const double share = 1.0 / static_cast<double>(steps_);
  done_ += fmt::format("{} {:.9f} {:.9f} {:.9f} {:.9f}\n", window_, busy_ * share, parts_.data * share,
                       parts_.checkpoint * share, parts_.reports * share);
}

void PaceMeter::pass_over() {
  const std::lock_guard lock(mutex_);
  last_end_.reset();
}

std::string PaceMeter::take() {
  const std::lock_guard lock(mutex_);
  return std::exchange(done_, {});
}

std::string describe(const SlowRank& slow) {
  return fmt::format(
      "rank {} on {} is slow: {} more than the others in each step ({:.0f} %), most of it for {}, since "
      "step {}",
      slow.rank, slow.host, time_text(slow.seconds), slow.excess * 100, slow.part, slow.since);
}

PaceJudge::PaceJudge(std::vector<std::string> hosts) : hosts_(std::move(hosts)), records_(hosts_.size()) {}

void PaceJudge::add(int rank, std::string_view text) {
  const std::lock_guard lock(mutex_);
  CSKD_CHECK(rank >= 0 && static_cast<std::size_t>(rank) < hosts_.size(), "rank {} of {}", rank, hosts_.size());
  std::istringstream numbers{std::string(text)};
  std::uint64_t window = 0;
  Window found;
  while (numbers >> window) {
    if (!(numbers >> found.busy >> found.parts.data >> found.parts.checkpoint >> found.parts.reports))
      throw runtime::Error(fmt::format("rank {} sent a report of its pace that cannot be parsed", rank));
    auto& of_ranks = pending_[window];
    of_ranks.resize(hosts_.size());
    of_ranks[static_cast<std::size_t>(rank)] = found;
  }
  const auto is_whole = [](const auto& of_ranks) {
    return std::ranges::all_of(of_ranks, [](const auto& each) { return each.has_value(); });
  };
  while (!pending_.empty() && (is_whole(pending_.begin()->second) || pending_.size() > kMostPending)) {
    const auto first = pending_.extract(pending_.begin());
    if (is_whole(first.mapped())) judge(first.key(), first.mapped());
  }
}

void PaceJudge::judge(std::uint64_t window, const std::vector<std::optional<Window>>& of_ranks) {
  if (of_ranks.size() < 2) return;
  // Another training has begun, whose steps count from 0: what was slow in the one before says nothing about it.
  if (last_window_ && window <= *last_window_) forget();
  last_window_ = window;
  recent_.push_back(of_ranks);
  if (recent_.size() > kRecentWindows) recent_.erase(recent_.begin());
  std::vector<double> sorted;
  for (const auto& each : of_ranks) sorted.push_back(each->busy);
  std::ranges::sort(sorted);
  std::vector<int> found;
  for (std::size_t i = 0; i < of_ranks.size(); ++i) {
    Record& record = records_[i];
    const double others = median_of_others(sorted, of_ranks[i]->busy);
    record.recent.push_back({.window = window, .others = others, .more = of_ranks[i]->busy - others});
    if (record.recent.size() > kRecentWindows) record.recent.erase(record.recent.begin());
    const auto late = static_cast<std::size_t>(std::ranges::count_if(record.recent, &Lateness::is_late));
    const auto rank = static_cast<int>(i);
    if (late >= kLateWindows) {
      if (!record.slow) {
        found.push_back(rank);
        const std::uint64_t first = record.recent.front().window;
        record.slow = SlowRank{.rank = rank, .host = hosts_[i], .since = first * kPaceSteps};
      }
      // The median: not even a hiccup of ten steps' length changes it.
      std::vector<Lateness> usual = record.recent;
      const auto middle = usual.begin() + static_cast<std::ptrdiff_t>(usual.size() / 2);
      std::ranges::nth_element(usual, middle, {}, &Lateness::more);
      record.slow->seconds = middle->more;
      record.slow->excess = middle->more / middle->others;
      record.slow->part = part_of(rank);
    } else if (record.slow && late <= kCaughtUpWindows) {
      news_.push_back(fmt::format("rank {} on {} has caught up with the others", rank, hosts_[i]));
      record.slow.reset();
    }
  }
  if (!found.empty()) tell_of_slow(found);
}

void PaceJudge::forget() {
  recent_.clear();
  for (Record& record : records_) record = {};
}

// What takes most of the time that the rank needs more than the mean of the others.
std::string PaceJudge::part_of(int rank) const {
  std::array<double, 4> more{};
  for (const auto& of_ranks : recent_) {
    for (std::size_t i = 0; i < of_ranks.size(); ++i) {
      const Window& window = *of_ranks[i];
      const StepParts& parts = window.parts;
      const double weight = static_cast<int>(i) == rank ? 1 : -1 / static_cast<double>(of_ranks.size() - 1);
      more[0] += weight * parts.data;
      more[1] += weight * parts.checkpoint;
      more[2] += weight * parts.reports;
      more[3] += weight * (window.busy - parts.data - parts.checkpoint - parts.reports);
    }
  }
  constexpr std::array<const char*, 4> kNames{"data", "checkpoints", "logs", "forward and backward"};
  return kNames[static_cast<std::size_t>(std::ranges::max_element(more) - more.begin())];
}

void PaceJudge::tell_of_slow(const std::vector<int>& ranks) {
  std::set<std::string> told;
  const std::set<std::string> all_hosts(hosts_.begin(), hosts_.end());
  for (const int rank : ranks) {
    const auto place = static_cast<std::size_t>(rank);
    const std::string& host = hosts_[place];
    std::vector<int> of_host;
    bool is_whole = true;
    for (std::size_t i = 0; i < hosts_.size(); ++i) {
      if (hosts_[i] != host) continue;
      of_host.push_back(static_cast<int>(i));
      is_whole = is_whole && records_[i].slow.has_value();
    }
    if (!is_whole || of_host.size() == 1 || all_hosts.size() == 1) {
      news_.push_back(describe(*records_[place].slow));
    } else if (told.insert(host).second) {
      const SlowRank& slow = *records_[place].slow;
      news_.push_back(fmt::format(
          "{} is slow, all its ranks ({}): {} more than the others in each step ({:.0f} %), "
          "most of it for {}, since step {}",
          host, fmt::join(of_host, ", "), time_text(slow.seconds), slow.excess * 100, slow.part, slow.since));
    }
  }
}

std::vector<SlowRank> PaceJudge::slow() const {
  const std::lock_guard lock(mutex_);
  std::vector<SlowRank> found;
  for (const Record& record : records_) {
    if (record.slow) found.push_back(*record.slow);
  }
  return found;
}

std::vector<std::string> PaceJudge::take_news() {
  const std::lock_guard lock(mutex_);
  return std::exchange(news_, {});
}

}  // namespace cskd::distributed
