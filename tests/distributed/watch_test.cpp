// Who is named when an exchange of the world is waited for in vain; on 2 and 4 ranks.
#include "distributed/watch.h"

#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "tests/support/on_ranks.h"
#include "tests/support/temporary_folder.h"

namespace cskd::distributed {
namespace {

class WatchTest : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, WatchTest, testing::Values(2, 4), testing::PrintToStringParamName());

TEST_P(WatchTest, NamesTheRankThatAnExchangeOfTheWorldWaitsFor) {
  tests::on_ranks(GetParam(), std::chrono::seconds(60), [](runtime::World& world) {
    const tests::TemporaryFolder folder;
    Journal journal;
    Watch watch(world, journal, folder.path());
    world.set_investigation([&watch] { return watch.investigate_world(); });
    world.barrier();
    const int late = world.size() - 1;
    if (world.rank() == late) {
      journal.enter("looking at the sky");
      // Until the others have given up, asked, and written.
      std::this_thread::sleep_for(std::chrono::seconds(6));
      const std::string text = tests::read_file(folder / ("collectives-rank-" + std::to_string(late) + ".txt"));
      EXPECT_THAT(text, testing::HasSubstr("an exchange between all ranks is not done"));
      EXPECT_THAT(text, testing::HasSubstr("looking at the sky"));
      world.set_investigation({});
      return;
    }
    world.set_timeout(std::chrono::milliseconds(500));
    std::string error;
    try {
      world.any(true);
    } catch (const runtime::Error& found) {
      error = found.what();
    }
    EXPECT_THAT(error, testing::StartsWith("any: not every rank joined within 0.5 s; rank"));
    EXPECT_THAT(error,
                testing::HasSubstr(" in it; rank " + std::to_string(late) + " is not: in 'looking at the sky' for"));
    EXPECT_TRUE(world.broken());
    world.set_investigation({});
    // Its thread still answers the others.
    std::this_thread::sleep_for(std::chrono::seconds(1));
  });
}

}  // namespace
}  // namespace cskd::distributed
