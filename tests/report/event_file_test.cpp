#include "report/event_file.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "tests/support/full_disk.h"
#include "tests/support/temporary_folder.h"

namespace cskd::report {
namespace {

using tests::FullDisk;
using tests::read_file;
using tests::TemporaryFolder;

TEST(EventFile, StartsAsTensorFlowsOwnFilesDo) {
  const TemporaryFolder folder;
  const EventFile file(folder / "a/b");
  const std::string bytes = read_file(file.path());
  // From a file that TensorFlow wrote: the length 24 with its checksum, and around the wall time and the version the
  // fields of tensorflow.Event.
  EXPECT_EQ(bytes.substr(0, 13), std::string("\x18\0\0\0\0\0\0\0\xa3\x7f\x4b\x22\x09", 13));
  EXPECT_EQ(bytes.substr(21, 15),
            "\x1a\x0d"
            "brain.Event:2");
  EXPECT_EQ(bytes.size(), 8 + 4 + 24 + 4);
}

TEST(EventFile, NamesSayTimeHostProcessAndNumber) {
  const TemporaryFolder folder;
  const EventFile first(folder.path());
  const EventFile second(folder.path());
  const std::string pattern = R"(events\.out\.tfevents\.[0-9]{10}\.[^/]+\.)" + std::to_string(::getpid());
  EXPECT_THAT(first.path().filename().native(), testing::MatchesRegex(pattern + R"(\.0)"));
  EXPECT_THAT(second.path().filename().native(), testing::MatchesRegex(pattern + R"(\.1)"));
}

TEST(EventFile, NamesSortByStartAlsoWithinASecondAndWhenAClockWasAhead) {
  const TemporaryFolder folder;
  std::vector<std::filesystem::path> paths{folder / "events.out.tfevents.8000000000.host.99.0"};
  { std::ofstream(paths[0]) << "of a clock that was ahead"; }
  { std::ofstream(folder / "events.out.tfevents.unknown") << "of another program"; }
  for (int i = 0; i < 12; ++i) paths.push_back(EventFile(folder.path()).path());
  EXPECT_THAT(std::vector(paths.begin() + 1, paths.end()), testing::Each(testing::Gt(paths[0])));
  EXPECT_TRUE(std::is_sorted(paths.begin(), paths.end()));
}

TEST(EventFile, ARecordIsInTheFileWhenTheCallReturns) {
  const TemporaryFolder folder;
  EventFile file(folder.path());
  const size_t before = read_file(file.path()).size();
  file.add_scalar("train/loss", 7, 0.25);
  const std::string record = read_file(file.path()).substr(before);
  EXPECT_THAT(record, testing::HasSubstr("train/loss"));
  EXPECT_EQ(record.size(), 16 + static_cast<unsigned char>(record[0]));
}

TEST(EventFile, AnUnusableFolderIsNamed) {
  const TemporaryFolder folder;
  { std::ofstream(folder / "a") << "no folder"; }
  EXPECT_THAT([&] { EventFile(folder / "a/events"); },
              testing::ThrowsMessage<runtime::Error>("cannot create the folder " + (folder / "a/events").native() +
                                                     ": Not a directory"));
}

TEST(EventFile, AFullDiskIsAnErrorAndLeavesTheFileAsItWas) {
  const TemporaryFolder folder;
  EventFile file(folder.path());
  file.add_scalar("a", 1, 1);
  const std::string before = read_file(file.path());
  runtime::arm_failure("event_file.write", 1, runtime::FailureAction::kFull);
  EXPECT_THAT([&] { file.add_scalar("a", 2, 2); },
              testing::ThrowsMessage<runtime::Error>(testing::AllOf(testing::HasSubstr(file.path().native()),
                                                                    testing::HasSubstr("No space left on device"))));
  EXPECT_EQ(read_file(file.path()), before);
}

TEST(EventFile, ADiskThatTakesAPartOfARecordLeavesWholeRecords) {
  const TemporaryFolder folder;
  EventFile file(folder.path());
  file.add_scalar("a", 1, 1);
  const std::string before = read_file(file.path());
  for (const size_t part : {0U, 1U, 20U}) {
    const FullDisk disk(before.size() + part);
    EXPECT_THAT([&] { file.add_scalar("a", 2, 2); },
                testing::ThrowsMessage<runtime::Error>(
                    testing::AllOf(testing::HasSubstr(file.path().native()), testing::HasSubstr("File too large"))));
    EXPECT_EQ(read_file(file.path()), before);
  }
  file.add_scalar("a", 2, 2);
  EXPECT_EQ(read_file(file.path()).substr(0, before.size()), before);
  EXPECT_GT(read_file(file.path()).size(), before.size());
}

}  // namespace
}  // namespace cskd::report
