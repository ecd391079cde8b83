// The rank that the others wait for, step after step, and what its time goes into.
//
// Note [Who is slow]
// All-reduces make all ranks equally late: the time of a step says nothing about who is. But a step's last bucket ends
// on all ranks at the same moment, and each rank knows when it was ready with its own last bucket. From the end of a
// step's to the readiness of the next step's, a rank is busy with its own work; where that is longer than with the
// others, they wait for it. No clocks are compared, and nothing is exchanged for it in a step: each rank sends means
// over kPaceSteps steps with its signs of life (runtime/failure_detector.h).
//
// A rank is late in a window when it needs more than the others' median by kLate of it. It is named when it was late in
// kLateWindows of the last kRecentWindows: a rank 10 % slower within 50 steps. A hiccup, however long, is one window.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "distributed/gradient_reducer.h"

namespace cskd::distributed {

constexpr std::uint64_t kPaceSteps = 4;       // a window
constexpr std::uint64_t kLeastPaceSteps = 2;  // that are measured, or the window is left out
constexpr std::size_t kRecentWindows = 11;
constexpr std::size_t kLateWindows = 9;
constexpr std::size_t kCaughtUpWindows = 2;   // late in no more of them
constexpr double kLate = 0.06;                // of the others' time
constexpr double kLeastLateSeconds = 0.0005;  // less is no matter

// Seconds of a step, by what they went into.
struct StepParts {
  double data = 0;        // waiting for batches
  double checkpoint = 0;  // waiting for a copy, starting one
  double reports = 0;     // logs, pictures, histograms
};

// Of each rank. Any thread.
class PaceMeter {
 public:
  // The step behind `step` others is done, of at least one bucket. `parts`: since the call before.
  void add(std::uint64_t step, const ReduceStatistics& reduced, const StepParts& parts);
  // What comes next is not measured: ranks waited for each other in something else.
  void pass_over();
  // The windows since the last call, for PaceJudge::add(); "" when there is none.
  std::string take();

 private:
  std::mutex mutex_;
  std::optional<Collective::Time> last_end_;
  std::uint64_t window_ = 0;
  std::uint64_t steps_ = 0;  // of the window
  double busy_ = 0;
  StepParts parts_;
  std::string done_;
};

struct SlowRank {
  int rank = 0;
  std::string host;
  double excess = 0;        // of the others' time: 0.1 is 10 % more
  double seconds = 0;       // more than the others in each step
  std::string part;         // what most of them go into: "data", "checkpoints", "logs", "forward and backward"
  std::uint64_t since = 0;  // step

  bool operator==(const SlowRank&) const = default;
};

// "rank 1 on n2 is slow: 23 ms more than the others in each step (10 %), most of it for data, since step 400"
std::string describe(const SlowRank& slow);

// On rank 0. Any thread.
class PaceJudge {
 public:
  // Host of each rank.
  explicit PaceJudge(std::vector<std::string> hosts);

  // What a rank's PaceMeter took. Throws Error when it is something else.
  void add(int rank, std::string_view text);
  // Ranks that are slow now.
  std::vector<SlowRank> slow() const;
  // What became known since the last call, for people: who is slow, a whole host where all its ranks are, and who has
  // caught up.
  std::vector<std::string> take_news();

 private:
  struct Window {
    double busy = 0;
    StepParts parts;
  };
  // One rank in a window, beside the others.
  struct Lateness {
    std::uint64_t window = 0;
    double others = 0;  // their median, seconds
    double more = 0;    // seconds
    bool is_late() const { return more > kLate * others && more > kLeastLateSeconds; }
  };
  struct Record {
    std::vector<Lateness> recent;
    std::optional<SlowRank> slow;
  };

  void judge(std::uint64_t window, const std::vector<std::optional<Window>>& of_ranks);
  void forget();
  std::string part_of(int rank) const;
  void tell_of_slow(const std::vector<int>& ranks);

  mutable std::mutex mutex_;
  const std::vector<std::string> hosts_;
  std::map<std::uint64_t, std::vector<std::optional<Window>>> pending_;
  std::vector<std::vector<std::optional<Window>>> recent_;  // judged, the last kRecentWindows
  std::vector<Record> records_;
  std::optional<std::uint64_t> last_window_;  // that was judged
  std::vector<std::string> news_;
};

}  // namespace cskd::distributed
