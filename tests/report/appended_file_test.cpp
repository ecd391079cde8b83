#include "report/appended_file.h"

#include <string>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "tests/support/full_disk.h"
#include "tests/support/temporary_folder.h"

namespace cskd::report {
namespace {

using testing::HasSubstr;
using testing::ThrowsMessage;
using tests::FullDisk;
using tests::read_file;

// Leaves a part of a piece in the file.
void tear(AppendedFile& file) {
  const FullDisk disk(10);
  runtime::arm_failure("appended_file.cut", 1, runtime::FailureAction::kError);
  EXPECT_THAT([&] { file.append("second\n"); },
              ThrowsMessage<runtime::Error>(HasSubstr("which now ends in a part of them: File too large")));
}

TEST(AppendedFile, APartThatCouldNotBeCutOffIsCutOffBeforeTheNextPiece) {
  const tests::TemporaryFolder folder;
  AppendedFile file(folder / "file", "test.write");
  file.append("first\n");
  tear(file);
  EXPECT_EQ(read_file(folder / "file"), "first\nseco");
  file.append("second\n");
  EXPECT_EQ(read_file(folder / "file"), "first\nsecond\n");
}

TEST(AppendedFile, NothingIsPutBehindAPart) {
  const tests::TemporaryFolder folder;
  AppendedFile file(folder / "file", "test.write");
  file.append("first\n");
  tear(file);
  runtime::arm_failure("appended_file.cut", 1, runtime::FailureAction::kError);
  EXPECT_THAT([&] { file.append("second\n"); },
              ThrowsMessage<runtime::Error>(HasSubstr("ends in a part of a piece, which cannot be cut off")));
  EXPECT_EQ(read_file(folder / "file"), "first\nseco");
}

// What a file server does to an open file when it is replaced there.
TEST(AppendedFile, IsOpenedAnewAfterAFailure) {
  const tests::TemporaryFolder folder;
  AppendedFile file(folder / "file", "test.write");
  file.append("first\n");
  runtime::arm_failure("test.write", 1, runtime::FailureAction::kError);
  EXPECT_THROW(file.append("second\n"), runtime::Error);
  std::filesystem::rename(folder / "file", folder / "old");
  EXPECT_THAT([&] { file.append("second\n"); },
              ThrowsMessage<runtime::Error>(HasSubstr("again: No such file or directory")));
  std::filesystem::copy_file(folder / "old", folder / "file");
  file.append("second\n");
  file.append("third\n");
  EXPECT_EQ(read_file(folder / "file"), "first\nsecond\nthird\n");
  EXPECT_EQ(read_file(folder / "old"), "first\n");
}

TEST(AppendedFile, ThatLostWhatItHadTakesNothingMore) {
  const tests::TemporaryFolder folder;
  AppendedFile file(folder / "file", "test.write");
  file.append("first\n");
  runtime::arm_failure("test.write", 1, runtime::FailureAction::kError);
  EXPECT_THROW(file.append("second\n"), runtime::Error);
  std::filesystem::resize_file(folder / "file", 2);
  EXPECT_THAT([&] { file.append("second\n"); },
              ThrowsMessage<runtime::Error>(HasSubstr("has 2 bytes, fewer than the 6 that were written to it")));
  EXPECT_EQ(read_file(folder / "file"), "fi");
}

}  // namespace
}  // namespace cskd::report
