#include "data/staging.h"

#include <atomic>
#include <chrono>
#include <csignal>
#include <fstream>
#include <stdexcept>
#include <thread>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "runtime/content_hash.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "tests/support/temporary_folder.h"

namespace cskd::data {
namespace {

using testing::IsEmpty;

class StagingTest : public testing::Test {
 protected:
  ~StagingTest() override { runtime::disarm_failure(); }

  // A shared file of `size` bytes.
  Staging::File shared(const std::string& name, std::size_t size, char fill = 'a') const {
    const std::string contents(size, fill);
    std::ofstream(shared_ / name) << contents;
    return {.path = shared_ / name, .size = size, .hash = runtime::content_hash(contents + name)};
  }
  // The same, with the hash that its contents have.
  Staging::File hashed(const std::string& name, std::size_t size) const {
    const std::string contents = name + std::string(size - name.size(), 'x');
    std::ofstream(shared_ / name) << contents;
    return {.path = shared_ / name, .size = size, .hash = runtime::content_hash(contents)};
  }
  Staging staging(std::uint64_t bytes = 1 << 20) const { return Staging(local(), bytes); }
  std::filesystem::path local() const { return local_ / "stage"; }

  static void stage(Staging& staging, const Staging::File& file) {
    staging.place_of(file, [] {});
    staging.settle();
  }
  static bool is_staged(Staging& staging, const Staging::File& file) {
    return staging.place_of(file, [] {}).lease != nullptr;
  }

  // Files of this ending.
  std::vector<std::filesystem::path> files(const std::string& ending) const {
    std::vector<std::filesystem::path> found;
    for (const auto& item : std::filesystem::directory_iterator(local())) {
      if (item.path().extension() == ending) found.push_back(item.path());
    }
    return found;
  }
  std::uint64_t copied_bytes() const {
    std::uint64_t bytes = 0;
    for (const auto& copy : files(".copy")) bytes += std::filesystem::file_size(copy);
    return bytes;
  }

  cskd::tests::TemporaryFolder shared_;
  cskd::tests::TemporaryFolder local_;
};

TEST_F(StagingTest, ASharedFileIsReadUntilThereIsACopy) {
  Staging staging = this->staging();
  const Staging::File file = hashed("a", 1000);
  std::atomic<int> called{0};
  const Staging::Place first = staging.place_of(file, [&] { ++called; });
  EXPECT_EQ(first.path, file.path);
  EXPECT_EQ(first.lease, nullptr);
  staging.settle();
  EXPECT_EQ(called, 1);
  const Staging::Place second = staging.place_of(file, [&] { ++called; });
  EXPECT_NE(second.path, file.path);
  EXPECT_NE(second.lease, nullptr);
  EXPECT_EQ(cskd::tests::read_file(second.path), cskd::tests::read_file(file.path));
  EXPECT_EQ(called, 1);
  EXPECT_EQ(staging.counts().copied, 1U);
  EXPECT_EQ(staging.counts().copied_bytes, 1000U);
}

TEST_F(StagingTest, LaterJobsFindTheCopies) {
  const Staging::File file = hashed("a", 1000);
  {
    Staging staging = this->staging();
    stage(staging, file);
  }
  Staging staging = this->staging();
  EXPECT_TRUE(is_staged(staging, file));
  EXPECT_EQ(staging.counts().copied, 0U);
}

TEST_F(StagingTest, AFileWithoutAKnownHashIsCopiedAnewWhenItChanges) {
  Staging::File file = hashed("a", 1000);
  file.hash.reset();
  Staging staging = this->staging();
  stage(staging, file);
  ASSERT_TRUE(is_staged(staging, file));
  std::this_thread::sleep_for(std::chrono::milliseconds(20));
  std::ofstream(file.path) << std::string(1000, 'y');
  EXPECT_FALSE(is_staged(staging, file));
  staging.settle();
  const Staging::Place place = staging.place_of(file, [] {});
  EXPECT_EQ(cskd::tests::read_file(place.path), std::string(1000, 'y'));
}

TEST_F(StagingTest, ADamagedCopyIsMadeAgain) {
  const Staging::File file = hashed("a", 1000);
  {
    Staging staging = this->staging();
    stage(staging, file);
  }
  std::ofstream(files(".copy").at(0)) << std::string(1000, '?');
  Staging staging = this->staging();
  EXPECT_FALSE(is_staged(staging, file));
  staging.settle();
  const Staging::Place place = staging.place_of(file, [] {});
  ASSERT_NE(place.lease, nullptr);
  EXPECT_EQ(cskd::tests::read_file(place.path), cskd::tests::read_file(file.path));
  EXPECT_EQ(staging.counts().damaged, 1U);
}

TEST_F(StagingTest, ACopyThatIsCutOffIsMadeAgain) {
  const Staging::File file = hashed("a", 1000);
  {
    Staging staging = this->staging();
    stage(staging, file);
  }
  std::filesystem::resize_file(files(".copy").at(0), 10);
  Staging staging = this->staging();
  EXPECT_FALSE(is_staged(staging, file));
  staging.settle();
  EXPECT_TRUE(is_staged(staging, file));
}

TEST_F(StagingTest, ACopyOfAnEarlierBootIsHashedAndKept) {
  const Staging::File file = hashed("a", 1000);
  {
    Staging staging = this->staging();
    stage(staging, file);
  }
  std::string text = cskd::tests::read_file(files(".ok").at(0));
  text.replace(text.rfind(' ') + 1, std::string::npos, "an-earlier-boot\n");
  std::ofstream(files(".ok").at(0)) << text;
  Staging staging = this->staging();
  EXPECT_FALSE(is_staged(staging, file));
  staging.settle();
  EXPECT_TRUE(is_staged(staging, file));
  EXPECT_EQ(staging.counts().copied, 0U);
  EXPECT_EQ(staging.counts().found, 1U);
}

TEST_F(StagingTest, ACopyThatIsNotTrustedIsMadeAgain) {
  Staging staging = this->staging();
  const Staging::File file = hashed("a", 1000);
  stage(staging, file);
  const Staging::Place held = staging.place_of(file, [] {});
  staging.distrust(file);
  EXPECT_FALSE(is_staged(staging, file));
  staging.settle();
  EXPECT_TRUE(is_staged(staging, file));
  EXPECT_EQ(staging.counts().copied, 2U);
}

TEST_F(StagingTest, ADamagedSharedFileIsNotCopied) {
  Staging staging = this->staging();
  const Staging::File file = shared("a", 1000);  // with another hash than its contents have
  std::atomic<bool> called{false};
  staging.place_of(file, [&] { called = true; });
  staging.settle();
  EXPECT_FALSE(is_staged(staging, file));
  EXPECT_FALSE(called);
  EXPECT_FALSE(staging.counts().is_off);
  EXPECT_THAT(files(".copy"), IsEmpty());
  EXPECT_THAT(files(".tmp"), IsEmpty());
}

TEST_F(StagingTest, AMissingOrShorterSharedFileIsNotCopied) {
  Staging staging = this->staging();
  Staging::File file = hashed("a", 1000);
  file.size = 2000;
  stage(staging, file);
  EXPECT_FALSE(is_staged(staging, file));
  std::filesystem::remove(file.path);
  file = {.path = shared_ / "b", .size = 10, .hash = runtime::content_hash("b")};
  stage(staging, file);
  EXPECT_FALSE(is_staged(staging, file));
  EXPECT_FALSE(staging.counts().is_off);
}

TEST_F(StagingTest, TheBoundIsKeptAndWhatWasUsedLongestAgoGoes) {
  Staging staging = this->staging(3500);
  std::vector<Staging::File> all;
  for (const char* name : {"a", "b", "c", "d", "e"}) all.push_back(hashed(name, 1000));
  for (int i : {0, 1, 2}) {
    stage(staging, all[static_cast<std::size_t>(i)]);
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_TRUE(is_staged(staging, all[0]));  // used again
  std::this_thread::sleep_for(std::chrono::milliseconds(10));
  stage(staging, all[3]);
  EXPECT_LE(copied_bytes(), 3500U);
  EXPECT_TRUE(is_staged(staging, all[0]));
  EXPECT_TRUE(is_staged(staging, all[2]));
  EXPECT_TRUE(is_staged(staging, all[3]));
  EXPECT_EQ(staging.counts().removed, 1U);
  EXPECT_EQ(files(".copy").size(), 3U);
}

TEST_F(StagingTest, WhatIsReadStays) {
  Staging staging = this->staging(2500);
  const std::vector<Staging::File> all{hashed("a", 1000), hashed("b", 1000), hashed("c", 1000)};
  stage(staging, all[0]);
  stage(staging, all[1]);
  Staging::Place a = staging.place_of(all[0], [] {});
  Staging::Place b = staging.place_of(all[1], [] {});
  ASSERT_TRUE(a.lease != nullptr && b.lease != nullptr);
  stage(staging, all[2]);
  EXPECT_FALSE(is_staged(staging, all[2]));
  EXPECT_EQ(staging.counts().removed, 0U);
  EXPECT_FALSE(staging.counts().is_off);
  // Also by another process of the host.
  {
    Staging other = this->staging(2500);
    stage(other, all[2]);
    EXPECT_EQ(other.counts().removed, 0U);
    EXPECT_EQ(cskd::tests::read_file(a.path), cskd::tests::read_file(all[0].path));
  }
  a.lease = nullptr;
  std::this_thread::sleep_for(std::chrono::milliseconds(1100));  // until room is looked for again
  stage(staging, all[2]);
  EXPECT_TRUE(is_staged(staging, all[2]));
  EXPECT_TRUE(is_staged(staging, all[1]));
  EXPECT_LE(copied_bytes(), 2500U);
}

TEST_F(StagingTest, AFileLargerThanTheBoundIsReadWhereItIs) {
  Staging staging = this->staging(500);
  const Staging::File file = hashed("a", 1000);
  stage(staging, file);
  EXPECT_FALSE(is_staged(staging, file));
  EXPECT_FALSE(staging.counts().is_off);
}

TEST_F(StagingTest, AFullDiskEndsTheCopyingAndNothingElse) {
  Staging staging = this->staging();
  const Staging::File before = hashed("before", 1000);
  stage(staging, before);
  runtime::arm_failure("staging.write", 1, runtime::FailureAction::kFull);
  const Staging::File file = hashed("a", 1000);
  stage(staging, file);
  EXPECT_TRUE(staging.counts().is_off);
  EXPECT_FALSE(is_staged(staging, file));
  EXPECT_TRUE(is_staged(staging, before));
  EXPECT_THAT(files(".tmp"), IsEmpty());
}

TEST_F(StagingTest, ADiskThatIsReallyFullEndsTheCopying) {
  if (::mount("none", local_.path().c_str(), "tmpfs", 0, "size=64k") != 0) GTEST_SKIP() << "tmpfs cannot be mounted";
  {
    Staging staging = this->staging();
    const Staging::File file = hashed("a", 200'000);
    stage(staging, file);
    EXPECT_TRUE(staging.counts().is_off);
    EXPECT_FALSE(is_staged(staging, file));
  }
  ::umount(local_.path().c_str());
}

TEST_F(StagingTest, AFolderThatCannotBeUsedIsNoError) {
  std::ofstream(local()) << "a file";
  Staging staging = this->staging();
  const Staging::File file = hashed("a", 1000);
  stage(staging, file);
  EXPECT_FALSE(is_staged(staging, file));
  EXPECT_TRUE(staging.counts().is_off);
}

TEST_F(StagingTest, AFolderThatOthersMayWriteIsNotUsed) {
  std::filesystem::create_directory(local());
  ::chmod(local().c_str(), 0777);
  Staging staging = this->staging();
  EXPECT_TRUE(staging.counts().is_off);
}

TEST_F(StagingTest, WhatKilledProcessesLeftIsRemoved) {
  const Staging::File file = hashed("a", 1000);
  const pid_t child = ::fork();
  if (child == 0) {
    runtime::arm_failure("staging.write", 1, runtime::FailureAction::kKill);
    Staging staging = this->staging();
    stage(staging, file);
    ::_exit(0);
  }
  int status = 0;
  ::waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status));
  ASSERT_EQ(files(".tmp").size(), 1U);
  Staging staging = this->staging();
  EXPECT_THAT(files(".tmp"), IsEmpty());
  stage(staging, file);
  EXPECT_TRUE(is_staged(staging, file));
}

TEST_F(StagingTest, RanksOfAHostMakeOneCopyOfEachFile) {
  std::vector<Staging::File> all;
  for (int i = 0; i < 20; ++i) all.push_back(hashed(std::to_string(i), 500'000));
  const auto start = std::chrono::steady_clock::now() + std::chrono::milliseconds(20);
  std::vector<pid_t> children;
  for (int rank = 0; rank < 4; ++rank) {
    const pid_t child = ::fork();
    if (child == 0) {
      std::this_thread::sleep_until(start);
      Staging staging = this->staging(100 << 20);
      for (const Staging::File& file : all) staging.place_of(file, [] {});
      bool is_right = true;
      for (const Staging::File& file : all) {
        Staging::Place place;
        for (int tries = 0; place.lease == nullptr && tries < 2000; ++tries) {
          place = staging.place_of(file, [] {});
          if (place.lease == nullptr) std::this_thread::sleep_for(std::chrono::milliseconds(5));
        }
        is_right = is_right && place.lease != nullptr &&
                   cskd::tests::read_file(place.path) == cskd::tests::read_file(file.path);
      }
      std::ofstream(shared_ / ("copied-" + std::to_string(rank))) << staging.counts().copied;
      ::_exit(is_right ? 0 : 1);
    }
    children.push_back(child);
  }
  for (const pid_t child : children) {
    int status = 0;
    ::waitpid(child, &status, 0);
    EXPECT_EQ(status, 0);
  }
  int copied = 0;
  for (int rank = 0; rank < 4; ++rank)
    copied += std::stoi(cskd::tests::read_file(shared_ / ("copied-" + std::to_string(rank))));
  EXPECT_EQ(copied, 20);
  EXPECT_EQ(files(".copy").size(), 20U);
}

TEST_F(StagingTest, ManyReadersAndATightBoundReadTheRightBytes) {
  std::vector<Staging::File> all;
  for (int i = 0; i < 12; ++i) all.push_back(hashed(std::to_string(i), 10'000));
  Staging staging = this->staging(45'000);
  std::atomic<int> wrong{0};
  std::vector<std::jthread> readers;
  for (unsigned thread = 0; thread < 4; ++thread) {
    readers.emplace_back([&, thread] {
      for (unsigned i = 0; i < 300; ++i) {
        const Staging::File& file = all[(i * (thread + 1)) % all.size()];
        const Staging::Place place = staging.place_of(file, [] {});
        try {
          if (cskd::tests::read_file(place.path) != cskd::tests::read_file(file.path)) ++wrong;
        } catch (const std::runtime_error&) {
          if (place.lease == nullptr) ++wrong;  // a copy may be given up by another thread before it is opened
        }
        if (i % 50 == 0 && place.lease != nullptr) staging.distrust(file);
      }
    });
  }
  readers.clear();
  EXPECT_EQ(wrong, 0);
  staging.settle();
  EXPECT_LE(copied_bytes(), 45'000U);
}

}  // namespace
}  // namespace cskd::data
