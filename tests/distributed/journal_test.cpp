#include "distributed/journal.h"

#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "distributed/fault_injection.h"
#include "runtime/error.h"

namespace cskd::distributed {
namespace {

using testing::HasSubstr;
using testing::Not;

TEST(Journal, KeepsTheLastCollectives) {
  Journal journal(3);
  for (int i = 0; i < 5; ++i) {
    const std::uint64_t number = journal.queue("all-reduce", 1 << 20, "bucket " + std::to_string(i));
    EXPECT_EQ(number, static_cast<std::uint64_t>(i + 1));
    journal.start(number);
    journal.end(number);
  }
  const std::vector<Collective> kept = journal.collectives();
  ASSERT_EQ(kept.size(), 3U);
  EXPECT_EQ(kept.front().number, 3U);
  EXPECT_EQ(kept.back().label, "bucket 4");
  EXPECT_EQ(journal.queued(), 5U);
  EXPECT_FALSE(journal.pending());
  journal.start(1);  // forgotten
  journal.end(99);   // never there
}

TEST(Journal, FindsWhatIsNotDone) {
  Journal journal;
  EXPECT_THAT(journal.state(), HasSubstr("no collective yet"));
  const std::uint64_t first = journal.queue("broadcast", 8, "");
  journal.queue("all-reduce", 4096, "bucket 1 of 2: head.weight");
  EXPECT_THAT(journal.state(), HasSubstr("waits for broadcast 1 of 8 B, which never began,"));
  journal.start(first);
  EXPECT_THAT(journal.state(), Not(HasSubstr("never began")));
  journal.end(first);
  EXPECT_EQ(journal.pending()->number, 2U);
  journal.enter("backward");
  EXPECT_THAT(journal.state(), HasSubstr("in 'backward' for"));
  const std::string text = journal.text("rank 1 of 2");
  EXPECT_THAT(text, HasSubstr("rank 1 of 2\n"));
  EXPECT_THAT(text, HasSubstr("bucket 1 of 2: head.weight\n"));
  EXPECT_THAT(text, HasSubstr("not begun"));
}

TEST(Journal, IsWrittenByManyThreads) {
  Journal journal(50);
  std::vector<std::jthread> threads;
  for (int i = 0; i < 4; ++i) {
    threads.emplace_back([&journal] {
      for (int k = 0; k < 500; ++k) {
        const std::uint64_t number = journal.queue("all-reduce", 1, "x");
        journal.start(number);
        journal.end(number);
        static_cast<void>(journal.text("t"));
      }
    });
  }
  threads.clear();
  EXPECT_EQ(journal.queued(), 2000U);
  EXPECT_EQ(journal.collectives().size(), 50U);
}

TEST(FaultInjection, StrikesOnceOnItsRank) {
  FaultInjection other("all-reduce:2@1:drop", 0);
  FaultInjection faults("all-reduce:2@1:drop", 1);
  for (int i = 1; i <= 4; ++i) {
    EXPECT_FALSE(other.strike("all-reduce"));
    EXPECT_FALSE(faults.strike("broadcast"));
    EXPECT_EQ(faults.strike("all-reduce").has_value(), i == 2);
  }
  FaultInjection any("any:3@0:corrupt", 0);
  EXPECT_FALSE(any.strike("broadcast"));
  EXPECT_FALSE(any.strike("all-reduce"));
  EXPECT_EQ(any.strike("all-gather"), FaultAction::kCorrupt);
  FaultInjection thrown("any:1@0:throw", 0);
  EXPECT_THROW(thrown.strike("broadcast"), runtime::Error);
  FaultInjection none("", 0);
  EXPECT_FALSE(none.strike("all-reduce"));
}

TEST(FaultInjection, RefusesWhatItDoesNotUnderstand) {
  for (const char* text :
       {"all-reduce", "all-reduce:1:kill", "all-reduce:0@1:kill", "all-reduce:1@1:explode", "all-reduce:1@1:delay",
        "all-reduce:1@1:delay:x", "all-reduce:1@1:kill:3", "x:1@1:delay:-1", "x:1@1:delay:1:1", "x:-1@0:kill"}) {
    EXPECT_THROW(FaultInjection(text, 0), runtime::UsageError) << text;
  }
}

}  // namespace
}  // namespace cskd::distributed
