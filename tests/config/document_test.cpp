#include "config/document.h"

#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "config/reader.h"
#include "runtime/error.h"
#include "tests/support/temporary_folder.h"

namespace cskd::config {
namespace {

using runtime::UsageError;
using tests::TemporaryFolder;

std::string message_for(const std::filesystem::path& path) {
  try {
    read_document(path);
  } catch (const UsageError& error) {
    const std::string text = error.what();
    return text.substr(text.rfind('/') + 1);  // without the folder
  }
  return "was accepted";
}

std::string message_for_bytes(const TemporaryFolder& folder, const std::string& bytes) {
  std::ofstream(folder / "a.toml", std::ios::binary) << bytes;
  return message_for(folder / "a.toml");
}

TEST(Document, MissingFile) {
  const TemporaryFolder folder;
  EXPECT_EQ(message_for(folder / "a.toml"), "a.toml: cannot be opened: No such file or directory");
}

TEST(Document, Folder) {
  const TemporaryFolder folder;
  std::filesystem::create_directory(folder / "a.toml");
  EXPECT_EQ(message_for(folder / "a.toml"), "a.toml: is a folder; expected a configuration file in TOML");
}

TEST(Document, PipesAndDevicesAreRefusedWithoutWaiting) {
  const TemporaryFolder folder;
  ASSERT_EQ(::mkfifo((folder / "a.toml").c_str(), 0600), 0);
  EXPECT_EQ(message_for(folder / "a.toml"), "a.toml: is not a regular file; expected a configuration file in TOML");
  EXPECT_EQ(message_for("/dev/zero"), "zero: is not a regular file; expected a configuration file in TOML");
}

TEST(Document, AHundredMegabytesAreRefusedUnread) {
  const TemporaryFolder folder;
  std::ofstream(folder / "a.toml") << "x";
  std::filesystem::resize_file(folder / "a.toml", 100'000'000);
  EXPECT_EQ(message_for(folder / "a.toml"), "a.toml: has 95.4 MiB; a configuration has at most 1.0 MiB");
}

TEST(Document, WhatIsNotUtf8IsNamedWithItsPlace) {
  const TemporaryFolder folder;
  const auto message = [&](const std::string& bytes) { return message_for_bytes(folder, bytes); };
  EXPECT_EQ(message("a = \"\xff\"\n"), "a.toml:1:6: byte 0xff is not UTF-8; save the file in that encoding");
  EXPECT_EQ(message("a\nb\xc3\xa4\xe4 = 1\n"), "a.toml:2:3: byte 0xe4 is not UTF-8; save the file in that encoding");
  EXPECT_EQ(message("\xc0\xaf"), "a.toml:1:1: byte 0xc0 is not UTF-8; save the file in that encoding");  // overlong
  EXPECT_EQ(message("\xed\xa0\x80"),
            "a.toml:1:1: byte 0xed is not UTF-8; save the file in that encoding");  // surrogate
  EXPECT_EQ(message("\xf4\x90\x80\x80"), "a.toml:1:1: byte 0xf4 is not UTF-8; save the file in that encoding");
  EXPECT_EQ(message("\xe2\x82"), "a.toml:1:1: byte 0xe2 is not UTF-8; save the file in that encoding");  // cut off
  EXPECT_EQ(message(std::string("a = 1\n\0", 7)), "a.toml:2:1: has a NUL byte; is this a text file?");
}

TEST(Document, ReadsUtf8AndDropsAByteOrderMark) {
  const TemporaryFolder folder;
  const std::string text = "a = \"ä€😀\"\n";
  std::ofstream(folder / "a.toml") << "\xEF\xBB\xBF" << text;
  EXPECT_EQ(read_document(folder / "a.toml"), text);
}

TEST(Document, FollowsLinksToRegularFiles) {
  const TemporaryFolder folder;
  std::ofstream(folder / "real.toml") << "[run]\nfolder = \"out\"\n";
  std::filesystem::create_directory(folder / "links");
  std::filesystem::create_symlink(folder / "real.toml", folder / "links/a.toml");
  EXPECT_EQ(load_config(folder / "links/a.toml", {}).run().folder(), (folder / "links/out").native());
}

}  // namespace
}  // namespace cskd::config
