// Who is named as slow, on made-up steps.
#include "distributed/pace.h"

#include <algorithm>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"

namespace cskd::distributed {
namespace {

using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

Collective::Time at_second(double seconds) {
  return Collective::Time(
      std::chrono::duration_cast<Collective::Time::duration>(std::chrono::duration<double>(seconds)));
}

// Ranks that do the same steps, whose buckets end together.
class Job {
 public:
  explicit Job(std::vector<std::string> hosts) : meters_(hosts.size()), judge_(hosts) {}

  // One step, in which each rank is busy for so long.
  void step(const std::vector<double>& busy, const std::vector<StepParts>& parts = {}) {
    const double end = now_ + *std::ranges::max_element(busy) + 0.001;
    for (std::size_t rank = 0; rank < busy.size(); ++rank) {
      ReduceStatistics reduced;
      reduced.buckets.push_back({.ready = at_second(now_ + busy[rank] / 2), .ended = at_second(end - 0.0005)});
      reduced.buckets.push_back({.ready = at_second(now_ + busy[rank]), .ended = at_second(end)});
      meters_[rank].add(step_, reduced, parts.empty() ? StepParts{} : parts[rank]);
    }
    now_ = end;
    ++step_;
    for (std::size_t rank = 0; rank < busy.size(); ++rank) judge_.add(static_cast<int>(rank), meters_[rank].take());
    for (std::string& text : judge_.take_news()) news_.push_back(fmt::format("{}: {}", step_, text));
  }
  // Another training on the same ranks.
  void start_anew() {
    for (PaceMeter& meter : meters_) meter.pass_over();
    step_ = 0;
  }
  void pass_over() {
    for (PaceMeter& meter : meters_) meter.pass_over();
  }

  std::uint64_t steps() const { return step_; }
  const std::vector<std::string>& news() const { return news_; }
  const PaceJudge& judge() const { return judge_; }

 private:
  std::vector<PaceMeter> meters_;
  PaceJudge judge_;
  double now_ = 1;
  std::uint64_t step_ = 0;
  std::vector<std::string> news_;
};

// Times of ranks that do the same work: 2 % of noise of each step's own, slow drifts of 1 %, and now and then a hiccup
// of up to ten times a step.
class Noise {
 public:
  explicit Noise(std::size_t ranks) : drift_(ranks, 0) {}
  std::vector<double> busy(double seconds) {
    std::vector<double> all;
    for (double& drift : drift_) {
      drift = 0.98 * drift + 0.2 * normal_(random_);
      double factor = std::exp(0.02 * normal_(random_) + 0.01 * drift);
      if (uniform_(random_) < 0.002) factor *= 1 + 9 * uniform_(random_);
      all.push_back(seconds * factor);
    }
    return all;
  }

 private:
  std::mt19937 random_{7};
  std::normal_distribution<double> normal_;
  std::uniform_real_distribution<double> uniform_;
  std::vector<double> drift_;
};

TEST(Pace, NamesARankThatIsTenPercentSlowerWithinFiftySteps) {
  for (const std::size_t ranks : {2U, 4U, 64U}) {
    for (std::uint64_t quiet = 40; quiet < 48; ++quiet) {
      Job job(std::vector<std::string>(ranks, "n1"));
      Noise noise(ranks);
      for (std::uint64_t i = 0; i < quiet + 50; ++i) {
        std::vector<double> busy = noise.busy(0.2);
        if (i >= quiet) busy[1] *= 1.1;
        job.step(busy);
      }
      ASSERT_THAT(job.news(), SizeIs(1)) << ranks << " ranks";
      EXPECT_THAT(job.news().front(), HasSubstr("rank 1 on n1 is slow: "));
      ASSERT_THAT(job.judge().slow(), SizeIs(1));
      EXPECT_NEAR(job.judge().slow().front().excess, 0.1, 0.04);
      EXPECT_EQ(job.judge().slow().front().part, "forward and backward");
      EXPECT_GE(job.judge().slow().front().since + 2 * kPaceSteps, quiet / kPaceSteps * kPaceSteps);
    }
  }
}

TEST(Pace, IsQuietForTenThousandStepsOfEqualRanks) {
  for (const std::size_t ranks : {2U, 4U, 16U}) {
    Job job(std::vector<std::string>(ranks, "n1"));
    Noise noise(ranks);
    for (int i = 0; i < 10'000; ++i) job.step(noise.busy(0.05));
    EXPECT_THAT(job.news(), IsEmpty()) << ranks << " ranks";
  }
}

TEST(Pace, SaysWhatTheTimeGoesInto) {
  for (const auto& [part, parts] : {std::pair<std::string, StepParts>{"data", {.data = 0.05}},
                                    {"checkpoints", {.checkpoint = 0.05}},
                                    {"logs", {.reports = 0.05}}}) {
    Job job({"n1", "n2"});
    for (int i = 0; i < 60; ++i) job.step({0.25, 0.2}, {parts, {}});
    ASSERT_THAT(job.judge().slow(), SizeIs(1));
    EXPECT_EQ(job.judge().slow().front().part, part);
    EXPECT_THAT(job.news().front(), HasSubstr("rank 0 on n1 is slow: 50 ms more than the others in each step (25 %), "
                                              "most of it for " +
                                              part));
  }
}

TEST(Pace, NamesAHostWhoseRanksAreAllSlow) {
  Job job({"n1", "n1", "n2", "n2", "n3", "n3"});
  for (int i = 0; i < 60; ++i) job.step({0.1, 0.1, 0.12, 0.12, 0.1, 0.1});
  ASSERT_THAT(job.news(), SizeIs(1));
  EXPECT_THAT(job.news().front(), HasSubstr("n2 is slow, all its ranks (2, 3): 20 ms more"));
  EXPECT_THAT(job.judge().slow(), SizeIs(2));
}

TEST(Pace, SaysWhoHasCaughtUp) {
  Job job({"n1", "n2"});
  for (int i = 0; i < 48; ++i) job.step({0.1, 0.12});
  for (int i = 0; i < 48; ++i) job.step({0.1, 0.1});
  ASSERT_THAT(job.news(), SizeIs(2));
  EXPECT_THAT(job.news().back(), HasSubstr("rank 1 on n2 has caught up with the others"));
  EXPECT_THAT(job.judge().slow(), IsEmpty());
}

TEST(Pace, BeginsAnewWithEachTraining) {
  Job job({"a", "a"});
  const auto slow_steps = [&](std::uint64_t steps) {
    for (std::uint64_t i = 0; i < steps; ++i) job.step({0.1, 0.2});
  };
  slow_steps(8 * kPaceSteps);  // too few to be named
  job.start_anew();
  slow_steps(8 * kPaceSteps);
  EXPECT_THAT(job.news(), IsEmpty());
  slow_steps(8 * kPaceSteps);
  ASSERT_THAT(job.judge().slow(), SizeIs(1));
  EXPECT_LE(job.judge().slow().front().since, 2 * kPaceSteps);
  job.start_anew();
  for (std::uint64_t i = 0; i < 4 * kPaceSteps; ++i) job.step({0.1, 0.1});
  EXPECT_THAT(job.judge().slow(), IsEmpty());
}

TEST(Pace, LeavesOutStepsBehindOtherExchanges) {
  // Every fourth step is behind a validation that takes rank 1 long.
  Job job({"n1", "n2"});
  for (int i = 0; i < 80; ++i) {
    if (i % 4 == 0) job.pass_over();
    job.step({0.1, i % 4 == 0 ? 0.9 : 0.1});
  }
  EXPECT_THAT(job.news(), IsEmpty());
  for (int i = 0; i < 80; ++i) {
    if (i % 4 == 0) job.pass_over();
    job.step({0.1, 0.12});
  }
  EXPECT_THAT(job.news(), SizeIs(1));
}

TEST(Pace, DoesNotWaitForARankThatTellsNothing) {
  PaceJudge judge({"n1", "n2"});
  for (int window = 0; window < 1000; ++window) judge.add(0, fmt::format("{} 0.1 0 0 0\n", window));
  EXPECT_THAT(judge.slow(), IsEmpty());
  EXPECT_THAT([&] { judge.add(1, "7 nonsense"); }, testing::Throws<runtime::Error>());
}

TEST(Pace, OfOneRankHasNobodyToWaitFor) {
  Job job({"n1"});
  for (int i = 0; i < 100; ++i) job.step({0.1});
  EXPECT_THAT(job.news(), IsEmpty());
}

}  // namespace
}  // namespace cskd::distributed
