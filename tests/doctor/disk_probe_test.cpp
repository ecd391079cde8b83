#include "doctor/disk_probe.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "doctor/source_probe.h"
#include "runtime/error.h"
#include "tests/support/temporary_folder.h"

namespace cskd::doctor {
namespace {

using tests::TemporaryFolder;

TEST(DiskProbe, LooksAtTheNearestExistingFolder) {
  const TemporaryFolder folder;
  const FolderFacts facts = look_at_folder(existing_ancestor(folder / "runs/demo/later"));
  EXPECT_EQ(facts.path, folder.path().native());
  EXPECT_NE(facts.file_system, "");
  EXPECT_EQ(facts.problem, "");
  EXPECT_GT(facts.free_bytes, 0U);
}

TEST(DiskProbe, NamesWhatCannotBeWritten) {
  const TemporaryFolder folder;
  std::ofstream(folder / "file") << "x";
  EXPECT_EQ(look_at_folder(folder / "file").problem, "is not a folder");
  EXPECT_EQ(look_at_folder(folder / "missing").problem, "is not there");
}

TEST(DiskProbe, MeasuresAndLeavesNothingBehind) {
  const TemporaryFolder folder;
  const DiskFacts facts = measure_disk(folder.path(), 8 << 20);
  EXPECT_GT(facts.write_mb_per_second, 0);
  EXPECT_GT(facts.read_mb_per_second, 0);
  EXPECT_GT(facts.commit_milliseconds, 0);
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

TEST(DiskProbe, StopsWhenItsTimeIsUp) {
  const TemporaryFolder folder;
  const DiskFacts facts = measure_disk(folder.path(), std::uint64_t{8} << 30, std::chrono::milliseconds(1));
  EXPECT_GT(facts.write_mb_per_second, 0);
  EXPECT_GT(facts.read_mb_per_second, 0);
}

TEST(DiskProbe, AFolderThatCannotBeWrittenIsAnError) {
  EXPECT_THAT([] { measure_disk("/proc", 8 << 20); },
              testing::ThrowsMessage<runtime::Error>(testing::StartsWith("cannot create /proc/.cskd-doctor-")));
}

std::string problem(const std::string& kind, const std::filesystem::path& path) {
  return look_at_source({.name = "s", .kind = kind, .path = path}).problem;
}

TEST(SourceProbe, AcceptsWhatEachKindNeeds) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "images");
  std::ofstream(folder / "AVA.txt") << "x";
  std::ofstream(folder / "a.tar") << "x";
  EXPECT_EQ(problem("folder", folder.path()), "");
  EXPECT_EQ(problem("webdataset", folder.path()), "");
  EXPECT_EQ(problem("webdataset", folder / "a.tar"), "");
  EXPECT_EQ(problem("ava", folder.path()), "");
}

TEST(SourceProbe, NamesWhatIsMissing) {
  const TemporaryFolder folder;
  EXPECT_EQ(problem("folder", folder / "no"), "does not exist");
  EXPECT_EQ(problem("folder", folder.path()), "is empty");
  std::ofstream(folder / "a.jpg") << "x";
  EXPECT_EQ(problem("folder", folder / "a.jpg"), "is not a folder");
  EXPECT_EQ(problem("webdataset", folder.path()), "has no .tar file");
  EXPECT_EQ(problem("ava", folder.path()), "has no AVA.txt");
  std::ofstream(folder / "AVA.txt") << "x";
  EXPECT_EQ(problem("ava", folder.path()), "");
  EXPECT_EQ(problem("csv", folder.path()), "is a folder, expected the table");
  EXPECT_EQ(problem("csv", folder / "AVA.txt"), "");
  EXPECT_EQ(problem("koniq10k", folder / "AVA.txt"), "is not a folder");
}

TEST(SourceProbe, ALoopOfLinksIsNamed) {
  const TemporaryFolder folder;
  std::filesystem::create_symlink(folder / "b", folder / "a");
  std::filesystem::create_symlink(folder / "a", folder / "b");
  EXPECT_EQ(problem("folder", folder / "a"), "Too many levels of symbolic links");
}

}  // namespace
}  // namespace cskd::doctor
