// Ranks that are gone, silent, failed or done, as others see them; on 2 and 4 ranks.
#include "runtime/failure_detector.h"

#include <atomic>
#include <mutex>
#include <optional>
#include <string>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/tcp.h"
#include "tests/support/on_ranks.h"

namespace cskd::runtime {
namespace {

using tests::on_ranks;

using namespace std::chrono_literals;

constexpr auto kLimit = 60s;

FailureDetector::Exchange exchange(World& world) {
  return {.all_gather = [&world](const std::string& text) { return world.all_gather(text); },
          .broadcast = [&world](const std::string& text) { return world.broadcast(text); }};
}

// A detector of its own, beside the world's, and what it says instead of ending the process.
class Watched {
 public:
  explicit Watched(World& world) : Watched(world, exchange(world)) {}
  Watched(World& world, const FailureDetector::Exchange& with)
      : detector_(std::in_place,
                  FailureDetector::Member{
                      .rank = world.rank(), .size = world.size(), .host = "host" + std::to_string(world.rank())},
                  with) {
    detector_->set_end([this](int code, const std::string& what) {
      const std::lock_guard lock(mutex_);
      end_ = {code, what};
    });
    // Nobody acts before all are there.
    world.barrier();
  }

  FailureDetector& operator*() { return *detector_; }
  FailureDetector* operator->() { return &*detector_; }
  void leave() { detector_.reset(); }

  // Exit code and text, when they come within `limit`.
  std::pair<int, std::string> wait_for_end(std::chrono::milliseconds limit) {
    for (const auto start = std::chrono::steady_clock::now(); std::chrono::steady_clock::now() - start < limit;) {
      {
        const std::lock_guard lock(mutex_);
        if (end_.first != 0) return end_;
      }
      std::this_thread::sleep_for(10ms);
    }
    return {};
  }

 private:
  std::mutex mutex_;
  std::pair<int, std::string> end_;
  std::optional<FailureDetector> detector_;  // last: its thread uses the rest
};

const int kLast = 1;  // the rank that something happens to

class FailureDetectors : public testing::TestWithParam<int> {};
INSTANTIATE_TEST_SUITE_P(Ranks, FailureDetectors, testing::Values(2, 4), testing::PrintToStringParamName());

TEST_P(FailureDetectors, NameARankWhoseProcessEnds) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    Watched watched(world);
    if (world.rank() == kLast) {
      watched.leave();
    } else {
      const auto [code, what] = watched.wait_for_end(5s);
      EXPECT_EQ(code, 1);
      EXPECT_THAT(what, testing::StartsWith("rank 1 on host1 is gone: ended without a word"));
    }
    world.barrier();
  });
}

TEST_P(FailureDetectors, NameRank0Too) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    Watched watched(world);
    if (world.rank() == 0) {
      watched.leave();
    } else {
      const auto [code, what] = watched.wait_for_end(5s);
      EXPECT_EQ(code, 1);
      EXPECT_THAT(what, testing::StartsWith("rank 0 on host0 is gone"));
    }
    world.barrier();
  });
}

TEST_P(FailureDetectors, LetThoseGoThatSayGoodbye) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    Watched watched(world);
    watched->say_goodbye();
    if (world.rank() == kLast) {
      watched.leave();
    } else {
      EXPECT_EQ(watched.wait_for_end(2500ms).second, "");
    }
    world.barrier();
  });
}

TEST_P(FailureDetectors, BearASilenceThatIsShorterThanTheLimit) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    Watched watched(world);
    watched->set_lost_after(6s);
    // The thread that gives signs of life stands still.
    std::atomic<int> calls = 0;
    if (world.rank() == kLast)
      watched->set_report([&calls] {
        if (++calls == 1) std::this_thread::sleep_for(3s);
        return std::string();
      });
    EXPECT_EQ(watched.wait_for_end(5s).second, "");
    world.barrier();
  });
}

TEST_P(FailureDetectors, NameARankThatIsSilentForTooLong) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    Watched watched(world);
    watched->set_lost_after(3s);
    if (world.rank() == kLast) {
      watched->set_report([] {
        std::this_thread::sleep_for(6s);
        return std::string();
      });
    } else {
      const auto [code, what] = watched.wait_for_end(6s);
      EXPECT_EQ(code, 1);
      EXPECT_THAT(what, testing::StartsWith("rank 1 on host1 gave no sign of life for 3 s (compute.lost_after)"));
    }
    world.barrier();
  });
}

TEST_P(FailureDetectors, PassOnTheFailureOfARank) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    Watched watched(world);
    if (world.rank() == kLast) {
      watched->announce_failure(3, "rank 1 failed: the shard is damaged");
      EXPECT_EQ(watched.wait_for_end(500ms).first, 0);  // it ends by itself
    } else {
      const auto [code, what] = watched.wait_for_end(5s);
      EXPECT_EQ(code, 3);
      EXPECT_EQ(what, "rank 1 failed: the shard is damaged");
    }
    world.barrier();
  });
}

TEST_P(FailureDetectors, DoNotDisturbARankThatEndsByItself) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    Watched watched(world);
    if (world.rank() == 0) watched->stand_aside();
    world.barrier();
    if (world.rank() == kLast) {
      watched.leave();
    } else if (world.rank() == 0) {
      EXPECT_EQ(watched.wait_for_end(1s).second, "");
    }
    world.barrier();
  });
}

TEST_P(FailureDetectors, BringReportsToRank0) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    std::mutex mutex;
    std::map<int, std::string> reports;
    Watched watched(world);
    watched->set_on_report([&](int rank, const std::string& report) {
      const std::lock_guard lock(mutex);
      reports[rank] = report;
    });
    watched->set_report([&world] { return "rank " + std::to_string(world.rank()) + "\nis well"; });
    std::this_thread::sleep_for(2500ms);
    if (world.rank() == 0) {
      const std::lock_guard lock(mutex);
      ASSERT_EQ(reports.size(), static_cast<std::size_t>(world.size()));
      for (const auto& [rank, report] : reports) EXPECT_EQ(report, "rank " + std::to_string(rank) + "\nis well");
      EXPECT_EQ(watched->links().size(), reports.size() - 1);
      for (const FailureDetector::Link& link : watched->links()) EXPECT_GT(link.round_trip_ms, 0);
    }
    watched->set_on_report({});
    world.barrier();
  });
}

TEST_P(FailureDetectors, TurnStrangersAway) {
  on_ranks(GetParam(), kLimit, [](World& world) {
    // One connects to rank 0 while the ranks meet, and says things.
    std::vector<TcpSocket> strangers;
    FailureDetector::Exchange with = exchange(world);
    with.broadcast = [&](const std::string& own) {
      const std::string text = world.broadcast(own);
      if (world.rank() != 0) return text;
      const auto port = static_cast<std::uint16_t>(std::stoi(text.substr(text.find(' '))));
      for (std::string words : {std::string("\x0c\0\0\0hwrong 1     ", 17), std::string(200'000, 'x'), std::string()}) {
        std::string problem;
        strangers.push_back(connect_to("127.0.0.1", port, 1s, problem));
        EXPECT_EQ(problem, "");
        strangers.back().send(words);
      }
      return text;
    };
    Watched watched(world, with);
    EXPECT_THAT(watched->warnings(), testing::IsEmpty());
    EXPECT_EQ(watched.wait_for_end(1500ms).second, "");
    world.barrier();
    if (world.rank() == kLast) {
      watched.leave();
    } else {
      EXPECT_THAT(watched.wait_for_end(5s).second, testing::StartsWith("rank 1 on host1 is gone"));
    }
    world.barrier();
  });
}

TEST(FailureDetector, OfOneRankHasNothingToDo) {
  FailureDetector detector({.rank = 0, .size = 1, .host = "here"}, {});
  detector.set_lost_after(10s);
  detector.say_goodbye();
  EXPECT_THAT(detector.links(), testing::IsEmpty());
  EXPECT_THAT(detector.warnings(), testing::IsEmpty());
}

}  // namespace
}  // namespace cskd::runtime
