#include "report/append_queue.h"

#include <atomic>
#include <condition_variable>
#include <future>
#include <mutex>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "tests/support/captured_log.h"

namespace cskd::report {
namespace {

using std::chrono::hours;
using std::chrono::milliseconds;
using std::chrono::seconds;
using testing::ElementsAre;
using testing::IsEmpty;
using testing::ThrowsMessage;
using tests::CapturedLog;

// A file of pieces that fails or hangs as a test wants it to. Thread-safe.
class Disk {
 public:
  void append(std::string_view piece) {
    std::unique_lock lock(mutex_);
    ++attempts_;
    changed_.notify_all();
    changed_.wait(lock, [this] { return !hangs_; });
    if (failures_ > 0) {
      --failures_;
      throw runtime::Error("cannot append to the disk: it is full");
    }
    pieces_.emplace_back(piece);
  }

  void fail(int times) {
    const std::lock_guard lock(mutex_);
    failures_ = times;
  }
  void hang(bool hangs) {
    const std::lock_guard lock(mutex_);
    hangs_ = hangs;
    changed_.notify_all();
  }
  void wait_for_attempts(int count) {
    std::unique_lock lock(mutex_);
    ASSERT_TRUE(changed_.wait_for(lock, seconds(20), [&] { return attempts_ >= count; }));
  }
  std::vector<std::string> pieces() {
    const std::lock_guard lock(mutex_);
    return pieces_;
  }
  int attempts() {
    const std::lock_guard lock(mutex_);
    return attempts_;
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<std::string> pieces_;
  int attempts_ = 0;
  int failures_ = 0;
  bool hangs_ = false;
};

constexpr int kForEver = 1'000'000'000;

class AppendQueueTest : public testing::Test {
 protected:
  std::unique_ptr<AppendQueue> queue(AppendQueue::Options options) const {
    return std::make_unique<AppendQueue>(
        "the file", [disk = disk_](std::string_view piece) { disk->append(piece); }, options);
  }
  static AppendQueue::Options retry(milliseconds after) {
    return {.on_failure = OnFailure::kRetry, .retry_after = after};
  }

  CapturedLog log_;
  std::shared_ptr<Disk> disk_ = std::make_shared<Disk>();
};

TEST_F(AppendQueueTest, AppendsEachPieceOnceAndInOrder) {
  std::vector<std::string> expected;
  {
    const auto pieces = queue({});
    for (int i = 0; i < 1000; ++i) {
      expected.push_back(std::to_string(i));
      pieces->push(expected.back());
      if (i == 500) {
        pieces->flush();
        EXPECT_EQ(disk_->pieces(), expected);
      }
    }
  }
  EXPECT_EQ(disk_->pieces(), expected);
  EXPECT_THAT(log_.lines(), IsEmpty());
}

TEST_F(AppendQueueTest, PushDoesNotWaitForADiskThatHangs) {
  disk_->hang(true);
  const auto pieces = queue({});
  pieces->push("0");
  disk_->wait_for_attempts(1);
  const auto start = std::chrono::steady_clock::now();
  for (int i = 1; i < 1000; ++i) pieces->push(std::to_string(i));
  pieces->throw_if_failed();
  EXPECT_LT(std::chrono::steady_clock::now() - start, seconds(1));
  EXPECT_THAT(disk_->pieces(), IsEmpty());
  disk_->hang(false);
  pieces->flush();
  EXPECT_EQ(disk_->pieces().size(), 1000U);
}

TEST_F(AppendQueueTest, FlushGivesUpOnADiskThatHangs) {
  disk_->hang(true);
  const auto pieces = queue({.flush_timeout = milliseconds(50)});
  pieces->push("12345");
  EXPECT_THAT([&] { pieces->flush(); },
              ThrowsMessage<runtime::Error>("the file did not take 5 bytes within 1 s: its disk hangs"));
  disk_->hang(false);
  pieces->flush();
  EXPECT_THAT(disk_->pieces(), ElementsAre("12345"));
}

TEST_F(AppendQueueTest, ItsEndDoesNotWaitForADiskThatHangs) {
  disk_->hang(true);
  {
    const auto pieces = queue({.close_timeout = milliseconds(50)});
    pieces->push("12345");
  }
  EXPECT_THAT(log_.lines(),
              ElementsAre("error the last 5 bytes of the file are lost: it did not take them within 1 s"));
  disk_->hang(false);
  while (disk_->pieces().empty()) std::this_thread::sleep_for(milliseconds(1));
}

TEST_F(AppendQueueTest, ThrowsFromTheFirstFailureOnAndWritesNothingMore) {
  {
    const auto pieces = queue({});
    pieces->push("a");
    pieces->flush();
    disk_->fail(1);
    pieces->push("b");
    pieces->push("c");
    for (int i = 0; i < 2; ++i)
      EXPECT_THAT([&] { pieces->flush(); }, ThrowsMessage<runtime::Error>("cannot append to the disk: it is full"));
    EXPECT_THROW(pieces->throw_if_failed(), runtime::Error);
    pieces->push("d");
    EXPECT_THROW(pieces->flush(), runtime::Error);
  }
  EXPECT_THAT(disk_->pieces(), ElementsAre("a"));
  EXPECT_THAT(log_.lines(), IsEmpty());
}

TEST_F(AppendQueueTest, AFailureThatNobodySawIsLogged) {
  disk_->fail(1);
  {
    const auto pieces = queue({});
    pieces->push("12345");
  }
  EXPECT_THAT(log_.lines(),
              ElementsAre("error the last 5 bytes of the file are lost: cannot append to the disk: it is full"));
}

TEST_F(AppendQueueTest, TriesAgainUntilTheDiskTakesItAndSaysSoOnce) {
  disk_->fail(3);
  const auto pieces = queue(retry(milliseconds(1)));
  pieces->push("a");
  pieces->push("b");
  disk_->wait_for_attempts(5);
  pieces->flush();
  EXPECT_THAT(disk_->pieces(), ElementsAre("a", "b"));
  EXPECT_THAT(log_.lines(), ElementsAre("warning cannot append to the disk: it is full: trying again every 1 s",
                                        "warning the file is written again; nothing is lost"));
  pieces->throw_if_failed();
}

TEST_F(AppendQueueTest, FlushTriesAtOnce) {
  disk_->fail(1);
  const auto pieces = queue(retry(hours(1)));
  pieces->push("a");
  disk_->wait_for_attempts(1);
  pieces->flush();
  EXPECT_THAT(disk_->pieces(), ElementsAre("a"));
}

TEST_F(AppendQueueTest, FlushThrowsWhatStillFailsAndLosesNothing) {
  disk_->fail(kForEver);
  const auto pieces = queue(retry(hours(1)));
  pieces->push("a");
  pieces->push("b");
  for (int i = 0; i < 3; ++i) {
    EXPECT_THAT([&] { pieces->flush(); }, ThrowsMessage<runtime::Error>("cannot append to the disk: it is full"));
    pieces->throw_if_failed();
    EXPECT_LE(disk_->attempts(), 2 + i);
  }
  disk_->fail(0);
  pieces->flush();
  EXPECT_THAT(disk_->pieces(), ElementsAre("a", "b"));
  EXPECT_EQ(log_.lines().size(), 2U);
}

TEST_F(AppendQueueTest, AnAttemptFromBeforeAFlushDoesNotCount) {
  disk_->hang(true);
  disk_->fail(1);
  const auto pieces = queue(retry(hours(1)));
  pieces->push("a");
  disk_->wait_for_attempts(1);
  std::future<void> flushed = std::async(std::launch::async, [&] { pieces->flush(); });
  std::this_thread::sleep_for(milliseconds(50));
  disk_->hang(false);
  ASSERT_EQ(flushed.wait_for(seconds(20)), std::future_status::ready);
  EXPECT_NO_THROW(flushed.get());
  EXPECT_EQ(disk_->attempts(), 2);
}

TEST_F(AppendQueueTest, WhatFailsFirstInAFlushIsTriedAgain) {
  const auto pieces = queue(retry(hours(1)));
  for (int i = 0; i < 10; ++i) {
    disk_->fail(1);
    pieces->push("a");
    pieces->flush();
  }
  EXPECT_EQ(disk_->attempts(), 20);
}

TEST_F(AppendQueueTest, TriesOnceMoreAtTheEnd) {
  disk_->fail(1);
  {
    const auto pieces = queue(retry(hours(1)));
    pieces->push("a");
    pieces->push("b");
    disk_->wait_for_attempts(1);
  }
  EXPECT_THAT(disk_->pieces(), ElementsAre("a", "b"));
  disk_->fail(kForEver);
  {
    const auto pieces = queue(retry(hours(1)));
    pieces->push("12345");
    disk_->wait_for_attempts(4);
  }
  EXPECT_EQ(disk_->attempts(), 5);
  EXPECT_EQ(log_.lines().back(), "error the last 5 bytes of the file are lost: cannot append to the disk: it is full");
}

TEST_F(AppendQueueTest, TakesWhatMayBeLeftOutOnlyWhereThereIsRoom) {
  disk_->hang(true);
  const auto pieces = queue({.most_bytes = 10});
  pieces->push("1234");
  EXPECT_TRUE(pieces->try_push("123456"));
  EXPECT_FALSE(pieces->try_push("1"));
  pieces->push("must be");
  disk_->hang(false);
  pieces->flush();
  EXPECT_TRUE(pieces->try_push("1234567890"));
  pieces->flush();
  EXPECT_THAT(disk_->pieces(), ElementsAre("1234", "123456", "must be", "1234567890"));
}

TEST_F(AppendQueueTest, ManyThreadsMayFlush) {
  constexpr int kPieces = 2000;
  const auto pieces = queue(retry(milliseconds(1)));
  std::atomic<bool> is_done{false};
  std::vector<std::thread> others;
  others.reserve(3);
  for (int i = 0; i < 3; ++i) {
    others.emplace_back([&] {
      while (!is_done) {
        try {
          pieces->flush();
        } catch (const runtime::Error&) {
        }
      }
    });
  }
  std::mt19937 random(1);
  std::vector<std::string> expected;
  for (int i = 0; i < kPieces; ++i) {
    if (random() % 20 == 0) disk_->fail(static_cast<int>(random() % 4));
    expected.push_back(std::to_string(i));
    pieces->push(expected.back());
  }
  is_done = true;
  for (std::thread& other : others) other.join();
  disk_->fail(0);
  pieces->flush();
  EXPECT_EQ(disk_->pieces(), expected);
}

}  // namespace
}  // namespace cskd::report
