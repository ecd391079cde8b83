// content_hash, input_file, sealed_file.
#include <fstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include "runtime/content_hash.h"
#include "runtime/error.h"
#include "runtime/input_file.h"
#include "runtime/sealed_file.h"
#include "tests/support/temporary_folder.h"

namespace cskd::runtime {
namespace {

// `xxhsum -H2` of the same bytes.
TEST(ContentHash, IsXxh3Of128Bits) {
  EXPECT_EQ(content_hash(std::string_view("")).hex(), "99aa06d3014798d86001c324468d497f");
  EXPECT_EQ(content_hash(std::string_view("abc")).hex(), "06b05ab6733a618578af5f94892f3950");
  EXPECT_EQ(content_hash(std::string_view("abc")).prefix(), 0x06b05ab6733a6185U);
}

TEST(ContentHash, IsTheSameInParts) {
  ContentHasher hasher;
  hasher.add(std::string_view("a"));
  hasher.add(std::string_view("bc"));
  EXPECT_EQ(hasher.hash(), content_hash(std::string_view("abc")));
  ContentHasher one;
  one.add_field("ab");
  one.add_field("c");
  ContentHasher two;
  two.add_field("a");
  two.add_field("bc");
  EXPECT_NE(one.hash(), two.hash());
}

class Files : public testing::Test {
 protected:
  tests::TemporaryFolder folder_;
  std::filesystem::path path_ = folder_ / "file";

  void write(const std::string& text) { std::ofstream(path_, std::ios::binary) << text; }
  std::string read() {
    std::ifstream in(path_, std::ios::binary);
    return {std::istreambuf_iterator<char>(in), {}};
  }
  std::string sealed_error(std::uint32_t version = 3) {
    try {
      read_sealed_file(path_, "CSKDTEST", version);
    } catch (const DataError& error) {
      return error.what();
    }
    return "no error";
  }
};

TEST_F(Files, InputFileReadsRangesAndRefusesMore) {
  write("0123456789");
  const InputFile file(path_);
  EXPECT_EQ(file.size(), 10U);
  EXPECT_EQ(file.read_numbers<char>(3, 4), (std::vector<char>{'3', '4', '5', '6'}));
  EXPECT_THROW(static_cast<void>(file.read_at(5, 6)), DataError);
  EXPECT_THROW(static_cast<void>(file.read_at(11, 0)), DataError);
  EXPECT_THROW(static_cast<void>(file.read_at(~0ULL, 2)), DataError);
}

TEST_F(Files, InputFileRefusesFoldersAndMissingFiles) {
  EXPECT_THROW(InputFile(folder_.path()), Error);
  EXPECT_THROW(InputFile(folder_ / "none"), Error);
  ASSERT_EQ(::mkfifo((folder_ / "pipe").c_str(), 0600), 0);
  EXPECT_THROW(InputFile(folder_ / "pipe"), Error);
}

TEST_F(Files, TheHashOfAFileIsThatOfItsBytes) {
  std::string text;
  text.resize(20'000'000, 'x');  // more than is read at once
  write(text);
  EXPECT_EQ(content_hash(InputFile(path_)), content_hash(std::string_view(text)));
}

TEST_F(Files, ATextFileHasALimit) {
  write("12345");
  EXPECT_EQ(read_text_file(path_, 5), "12345");
  EXPECT_THROW(read_text_file(path_, 4), DataError);
}

TEST_F(Files, ASealedFileGivesBackItsPayload) {
  const std::string payload("a\0b", 3);
  write_sealed_file(path_, "CSKDTEST", 3, payload);
  EXPECT_EQ(read_sealed_file(path_, "CSKDTEST", 3), payload);
}

TEST_F(Files, EveryFlippedBitOfASealedFileIsNoticed) {
  write_sealed_file(path_, "CSKDTEST", 3, "some payload");
  const std::string whole = read();
  for (size_t at = 0; at < whole.size(); ++at) {
    if (at >= 12 && at < 16) continue;  // reserved
    std::string damaged = whole;
    damaged[at] = static_cast<char>(damaged[at] ^ 4);
    write(damaged);
    EXPECT_NE(sealed_error(), "no error") << at;
  }
  for (size_t length = 0; length < whole.size(); ++length) {
    write(whole.substr(0, length));
    EXPECT_NE(sealed_error(), "no error") << length;
  }
}

TEST_F(Files, ASealedFileOfAnotherVersionIsNamed) {
  write_sealed_file(path_, "CSKDTEST", 4, "x");
  EXPECT_THAT(sealed_error(), testing::HasSubstr("format version 4, this cskd reads version 3"));
}

}  // namespace
}  // namespace cskd::runtime
