#include "runtime/shared_files.h"

#include <chrono>
#include <cstdint>
#include <fstream>

#include <gtest/gtest.h>
#include <sys/mount.h>

#include "runtime/range_locks.h"
#include "tests/support/temporary_folder.h"

namespace cskd::runtime {
namespace {

using std::chrono::milliseconds;

TEST(SharedFiles, WhatIsThereIsThere) {
  const tests::TemporaryFolder folder;
  std::ofstream(folder / "a") << "x";
  EXPECT_TRUE(wait_until_there(folder / "a"));
  EXPECT_TRUE(wait_until_there(folder.path()));
}

TEST(SharedFiles, NobodyWaitsForALocalFile) {
  const tests::TemporaryFolder folder;
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(wait_until_there(folder / "missing", std::chrono::minutes(5)));
  EXPECT_FALSE(wait_until_there(folder / "missing" / "below", std::chrono::minutes(5)));
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::minutes(1));
}

// /proc is no disk of this host, as far as is known.
TEST(SharedFiles, ElsewhereAMissingFileIsWaitedFor) {
  const auto start = std::chrono::steady_clock::now();
  EXPECT_FALSE(wait_until_there("/proc/self/missing", milliseconds(50)));
  EXPECT_GE(std::chrono::steady_clock::now() - start, milliseconds(50));
}

TEST(SharedFiles, LeftoversGo) {
  const tests::TemporaryFolder folder;
  std::filesystem::create_directories(folder / "a/b");
  std::ofstream(folder / "a/b/c") << "x";
  EXPECT_TRUE(remove_leftover(folder / "a", "the test's folder"));
  EXPECT_FALSE(std::filesystem::exists(folder / "a"));
  EXPECT_TRUE(remove_leftover(folder / "a", "the test's folder"));  // gone already
}

TEST(SharedFiles, ALeftoverThatStaysIsNoError) {
  const tests::TemporaryFolder folder;
  std::filesystem::create_directories(folder / "a/busy");
  if (::mount("none", (folder / "a/busy").c_str(), "tmpfs", 0, "size=64k") != 0)
    GTEST_SKIP() << "tmpfs cannot be mounted";
  EXPECT_FALSE(remove_leftover(folder / "a", "the test's folder"));
  ::umount((folder / "a/busy").c_str());
}

TEST(RangeLocks, AreHeldBetweenObjects) {
  const tests::TemporaryFolder folder;
  RangeLocks one(folder / "locks");
  {
    RangeLocks two(folder / "locks");
    EXPECT_TRUE(two.try_shared(5));
    EXPECT_TRUE(one.try_shared(5));
    EXPECT_FALSE(one.try_exclusive(5));
    EXPECT_TRUE(one.try_exclusive(6));
    EXPECT_FALSE(two.try_shared(6));
    one.release(6);
    EXPECT_TRUE(two.try_exclusive(6));
    EXPECT_TRUE(two.try_exclusive((std::uint64_t{1} << 62) - 1));
  }
  EXPECT_TRUE(one.try_exclusive(5));  // with the other one its locks went
}

}  // namespace
}  // namespace cskd::runtime
