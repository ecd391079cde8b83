#include "report/goodput.h"

#include <cstdlib>

#include <gtest/gtest.h>

namespace cskd::report {
namespace {

TEST(Goodput, OfAnUndisturbedTrainingLacksOnlyWhatIsNoStep) {
  GoodputMeter meter(std::nullopt, 0, "", 0);
  EXPECT_FALSE(meter.now(5).has_value());
  meter.start("align", 0, 10);
  for (int i = 1; i <= 90; ++i) meter.step(i, i, 10 + i);
  meter.end(true, 110);
  const Goodput found = *meter.now(200);
  EXPECT_DOUBLE_EQ(found.held, 100);
  EXPECT_DOUBLE_EQ(found.share(), 0.9);
  EXPECT_EQ(found.starts, 1);
  EXPECT_TRUE(found.ended);
}

TEST(Goodput, LosesWhatIsDoneAgainAndTheTimeOfTheRestart) {
  GoodputMeter first(std::nullopt, 0, "slurm 7.0", 0);
  first.start("align", 0, 0);
  first.step(50, 50, 50);
  // Killed at 50; the same allocation starts it again after 8 s, and it goes on from step 40.
  GoodputMeter second(first.now(50), 8, "slurm 7.0", 1000);
  EXPECT_DOUBLE_EQ(second.now(1002)->held, 60);  // 2 s in which other stages are looked at
  second.start("align", 40, 1002);
  EXPECT_DOUBLE_EQ(second.now(1002)->kept, 50);  // until it knows better
  second.step(100, 100, 1062);
  const Goodput found = *second.now(1062);
  EXPECT_DOUBLE_EQ(found.held, 120);
  EXPECT_DOUBLE_EQ(found.kept, 100);
  EXPECT_EQ(found.starts, 2);
  EXPECT_EQ(found.lost_steps, 10);
}

TEST(Goodput, DoesNotCountTheTimeInAQueue) {
  GoodputMeter first(std::nullopt, 0, "slurm 7.0", 0);
  first.start("align", 0, 0);
  first.step(50, 50, 50);
  for (const char* allocation : {"slurm 7.1", "slurm 8.0", ""}) {
    GoodputMeter second(first.now(50), 3600, allocation, 0);
    second.start("align", 50, 5);
    EXPECT_DOUBLE_EQ(second.now(5)->held, 55) << allocation;
    EXPECT_EQ(second.now(5)->lost_steps, 0);
    EXPECT_EQ(second.now(5)->starts, 2);
  }
}

TEST(Goodput, OfAStartThatIsLostBeforeItsFirstStepIsKept) {
  GoodputMeter first(std::nullopt, 0, "", 0);
  first.start("align", 0, 0);
  first.step(50, 50, 50);
  GoodputMeter second(first.now(50), 0, "", 0);  // ends while it looks at the stages before
  GoodputMeter third(second.now(4), 0, "", 0);
  third.start("align", 50, 0);
  EXPECT_DOUBLE_EQ(third.now(0)->held, 54);
  EXPECT_EQ(third.now(0)->step, 50);
}

TEST(Goodput, OfATrainingThatLostAllBeginsAtNothing) {
  GoodputMeter first(std::nullopt, 0, "", 0);
  first.start("align", 0, 0);
  first.step(5, 5, 5);
  GoodputMeter second(first.now(5), 0, "", 0);
  second.start("align", 0, 0);
  EXPECT_EQ(second.now(0)->kept, 0);
  EXPECT_EQ(second.now(0)->lost_steps, 5);
}

TEST(Goodput, OfTheNextTrainingIsItsOwn) {
  GoodputMeter meter(std::nullopt, 0, "", 0);
  meter.start("align", 0, 0);
  meter.step(5, 1, 5);
  meter.end(true, 6);
  EXPECT_DOUBLE_EQ(meter.now(100)->held, 6);
  meter.start("distill", 0, 100);
  EXPECT_DOUBLE_EQ(meter.now(101)->held, 1);
  EXPECT_EQ(meter.now(101)->stage, "distill");
  // So is that of a training that was done, and is done anew.
  GoodputMeter again(Goodput{.stage = "align", .step = 5, .held = 6, .kept = 1, .ended = true}, 10, "", 0);
  again.start("align", 0, 0);
  EXPECT_EQ(again.now(0)->starts, 1);
  EXPECT_EQ(again.now(0)->lost_steps, 0);
}

TEST(Goodput, StopsAtACheckpointAreStartsWithoutLoss) {
  GoodputMeter first(std::nullopt, 0, "slurm 7.0", 0);
  first.start("align", 0, 0);
  first.step(5, 5, 5);
  first.end(false, 6);
  EXPECT_DOUBLE_EQ(first.now(60)->held, 6);
  GoodputMeter second(first.now(60), 100, "slurm 7.1", 0);
  second.start("align", 5, 1);
  EXPECT_EQ(second.now(1)->starts, 2);
  EXPECT_EQ(second.now(1)->lost_steps, 0);
  EXPECT_DOUBLE_EQ(second.now(1)->held, 7);
}

TEST(Goodput, AnAllocationIsAJobAndItsRestart) {
  ::setenv("SLURM_JOB_ID", "12", 1);
  ::unsetenv("SLURM_RESTART_COUNT");
  EXPECT_EQ(allocation_of_job(), "slurm 12.0");
  ::setenv("SLURM_RESTART_COUNT", "3", 1);
  EXPECT_EQ(allocation_of_job(), "slurm 12.3");
  ::unsetenv("SLURM_JOB_ID");
  EXPECT_EQ(allocation_of_job(), "");
}

}  // namespace
}  // namespace cskd::report
