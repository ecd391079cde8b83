// Archives are made by GNU tar and Python elsewhere (tests/stages, tests/demo); here are damaged ones.
#include "shards/importers/tar_index.h"

#include <filesystem>
#include <fstream>
#include <random>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "tests/support/temporary_folder.h"

namespace cskd::shards {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

// The block with the checksum of what it holds.
std::string sealed(std::string block) {
  block.replace(148, 8, "        ");
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  block.replace(148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  return block;
}

std::string header(const std::string& name, std::uint64_t size, char type) {
  std::string block(512, '\0');
  block.replace(0, name.size(), name);
  block.replace(100, 7, "0000644");
  block.replace(124, 11, fmt::format("{:011o}", size));
  block[156] = type;
  block.replace(257, 8, std::string("ustar\00000", 8));
  return sealed(block);
}

std::string member(const std::string& name, const std::string& contents, char type = '0') {
  return header(name, contents.size(), type) + contents + std::string((512 - contents.size() % 512) % 512, '\0');
}

// A header for the next member with one record of the pax format.
std::string pax(const std::string& key, const std::string& value) {
  size_t length = key.size() + value.size() + 3;
  while (fmt::format("{} {}={}\n", length, key, value).size() != length) ++length;
  return member("pax", fmt::format("{} {}={}\n", length, key, value), 'x');
}

const std::string kEnd(1024, '\0');

class TarIndex : public testing::Test {
 protected:
  std::vector<TarMember> index(const std::string& bytes) {
    const std::filesystem::path path = folder_.path() / "a.tar";
    std::ofstream(path, std::ios::binary) << bytes;
    return index_tar(runtime::InputFile(path));
  }
  std::string error(const std::string& bytes) {
    try {
      index(bytes);
    } catch (const runtime::DataError& found) {
      return found.what();
    }
    return "no error";
  }
  std::vector<std::string> names(const std::string& bytes) {
    std::vector<std::string> found;
    for (const TarMember& member : index(bytes)) found.push_back(member.name);
    return found;
  }
  tests::TemporaryFolder folder_;
};

TEST_F(TarIndex, ListsFilesAndPassesOverFolders) {
  const auto members =
      index(member("a.jpg", "abc") + member("folder/", "", '5') + member("folder/b.png", std::string(513, 'x')) + kEnd);
  ASSERT_EQ(members.size(), 2U);
  EXPECT_EQ(members[0].name, "a.jpg");
  EXPECT_EQ(members[0].offset, 512U);
  EXPECT_EQ(members[1].name, "folder/b.png");
  EXPECT_EQ(members[1].size, 513U);
}

TEST_F(TarIndex, ReadsLongNames) {
  const std::string name(300, 'n');
  EXPECT_EQ(index(member("././@LongLink", name + '\0', 'L') + member("short", "x") + kEnd).at(0).name, name);
  const std::string record = fmt::format("{} path={}\n", name.size() + 10, name);
  EXPECT_EQ(index(member("pax", record, 'x') + member("short", "x") + kEnd).at(0).name, name);
}

TEST_F(TarIndex, JoinsPrefixAndNameOfUstar) {
  std::string block = header("name.jpg", 0, '0');
  block.replace(345, 10, "pre/fix/es");
  EXPECT_THAT(names(sealed(block) + kEnd), ElementsAre("pre/fix/es/name.jpg"));
}

TEST_F(TarIndex, ReadsArchivesOlderThanUstar) {
  std::string file = header("a.jpg", 3, '\0');
  file.replace(257, 8, std::string(8, '\0'));
  file.replace(345, 4, "junk");  // no prefix in this format
  std::string folder = header("folder/", 0, '\0');
  EXPECT_THAT(names(sealed(folder) + sealed(file) + "abc" + std::string(509, '\0') + kEnd), ElementsAre("a.jpg"));
}

TEST_F(TarIndex, TakesPathAndSizeOfPaxBeforeTheHeader) {
  const std::string bytes = pax("path", "long/name.jpg") + pax("size", "700") + header("short", 3, '0') +
                            std::string(1024, 'x') + member("b.jpg", "b") + kEnd;
  const auto members = index(bytes);
  ASSERT_EQ(members.size(), 2U);
  EXPECT_EQ(members[0].name, "long/name.jpg");
  EXPECT_EQ(members[0].size, 700U);
  EXPECT_EQ(members[0].offset, 5 * 512U);
  EXPECT_EQ(members[1].name, "b.jpg");
  EXPECT_EQ(members[1].size, 1U);
}

TEST_F(TarIndex, PassesOverWhatPaxSaysOfAllMembers) {
  EXPECT_THAT(names(member("pax", "19 path=global.jpg\n", 'g') + member("a.jpg", "b") + kEnd), ElementsAre("a.jpg"));
}

// As the header of a member has it: one bit, then the number in base 256.
std::string with_binary_size(std::string block, std::uint64_t size) {
  for (size_t i = 0; i < 12; ++i) block[124 + i] = static_cast<char>(i < 4 ? 0 : size >> (8 * (11 - i)));
  block[124] = static_cast<char>(0x80);
  return sealed(block);
}

TEST_F(TarIndex, FindsWhatFollowsAMemberOfMoreThan8GiB) {
  constexpr std::uint64_t kSize = (9ULL << 30) + 5;
  const std::filesystem::path path = folder_.path() / "large.tar";
  std::ofstream(path, std::ios::binary) << with_binary_size(header("large.jpg", 0, '0'), kSize);
  std::filesystem::resize_file(path, 512 + (9ULL << 30) + 512);  // a hole, not written
  std::ofstream(path, std::ios::binary | std::ios::app) << member("b.jpg", "b") + kEnd;
  const auto members = index_tar(runtime::InputFile(path));
  ASSERT_EQ(members.size(), 2U);
  EXPECT_EQ(members[0].size, kSize);
  EXPECT_EQ(members[1].name, "b.jpg");
  EXPECT_EQ(members[1].offset, 512 + (9ULL << 30) + 1024);
}

TEST_F(TarIndex, RefusesSizesThatOverflow) {
  for (const std::uint64_t size : {~0ULL, 1ULL << 63, ~0ULL - 511, (1ULL << 63) - 1}) {
    EXPECT_NE(error(with_binary_size(header("a.jpg", 0, '0'), size) + kEnd), "no error") << size;
    EXPECT_NE(error(pax("size", std::to_string(size)) + member("a.jpg", "b") + kEnd), "no error") << size;
  }
  EXPECT_THAT(error(pax("size", "-1") + member("a.jpg", "b") + kEnd), HasSubstr("a damaged pax size"));
  EXPECT_THAT(error(pax("size", "99999999999999999999") + member("a.jpg", "b") + kEnd),
              HasSubstr("a damaged pax size"));
  std::string negative = header("a.jpg", 0, '0');
  negative.replace(124, 12, std::string(12, '\xFF'));
  EXPECT_THAT(error(sealed(negative) + kEnd), HasSubstr("a number is too large"));
  std::string text = header("a.jpg", 0, '0');
  text.replace(124, 11, "0000000000z");
  EXPECT_THAT(error(sealed(text) + kEnd), HasSubstr("is not octal"));
}

TEST_F(TarIndex, PassesOverLinksAndDevicesAndTakesNoDataForThem) {
  // Some programs give a link the size of what it points to, and a folder one of its own: no data follow.
  std::string bytes;
  for (const char type : {'1', '2', '3', '4', '5', '6'}) bytes += header(fmt::format("{}.jpg", type), 5000, type);
  EXPECT_THAT(names(bytes + member("a.jpg", "b") + kEnd), ElementsAre("a.jpg"));
}

TEST_F(TarIndex, PassesOverSparseFiles) {
  EXPECT_THAT(names(pax("GNU.sparse.major", "1") + member("sparse.jpg", "map and data") + member("a.jpg", "b") + kEnd),
              ElementsAre("a.jpg"));
  std::string old = header("sparse.jpg", 600, 'S');
  EXPECT_THAT(names(old + std::string(1024, 'd') + member("a.jpg", "b") + kEnd), ElementsAre("a.jpg"));
  old[482] = 1;  // its map goes on in two further blocks
  std::string map(512, '\x01');
  std::string last_map = map;
  last_map[504] = 0;
  EXPECT_THAT(names(sealed(old) + map + last_map + std::string(1024, 'd') + member("a.jpg", "b") + kEnd),
              ElementsAre("a.jpg"));
  EXPECT_THAT(error(sealed(old) + map), HasSubstr("ends inside the map of a sparse file"));
}

TEST_F(TarIndex, ReadsJoinedArchivesToTheEnd) {
  const std::string first = member("a.jpg", "x") + std::string(20 * 512, '\0');
  const std::string second = member("b.jpg", "yy") + kEnd;
  EXPECT_THAT(names(first + second + std::string(3'000'000 / 512 * 512, '\0') + member("c.jpg", "z") + kEnd),
              ElementsAre("a.jpg", "b.jpg", "c.jpg"));
  EXPECT_THAT(error(first + "what follows is no archive" + std::string(1000, 'x')), HasSubstr("at byte 11264: "));
}

TEST_F(TarIndex, RefusesAnArchiveWithoutItsEnd) {
  const std::string two = member("a.jpg", "x") + member("b.jpg", "y");
  for (const std::size_t size : {two.size(), two.size() - 100, two.size() - 511})
    EXPECT_THAT(error(two.substr(0, size)), HasSubstr("lacks its end")) << size;
  EXPECT_THAT(names(two + std::string(512, '\0')), ElementsAre("a.jpg", "b.jpg"));
}

TEST_F(TarIndex, AHardLinkIsTheFileThatItNames) {
  std::string link = header("b.jpg", 0, '1');
  link.replace(157, 5, "a.jpg");
  const std::string long_name = std::string(200, 'n') + ".jpg";
  const std::vector<TarMember> found =
      index(member("a.jpg", "abc") + sealed(link) + pax("path", long_name) + member("n", "de") +
            member("././@LongLink", long_name + std::string(1, '\0'), 'K') + header("c.jpg", 0, '1') +
            pax("linkpath", "a.jpg") + header("d.jpg", 0, '1') + kEnd);
  ASSERT_EQ(found.size(), 5U);
  for (const auto& [number, target] : {std::pair(1, 0), std::pair(3, 2), std::pair(4, 0)}) {
    EXPECT_EQ(found[static_cast<std::size_t>(number)].offset, found[static_cast<std::size_t>(target)].offset);
    EXPECT_EQ(found[static_cast<std::size_t>(number)].size, found[static_cast<std::size_t>(target)].size);
  }
  EXPECT_EQ(found[4].name, "d.jpg");
}

TEST_F(TarIndex, RefusesNamesThatLeadOutOfTheArchive) {
  for (const char* name : {"/etc/a.jpg", "../a.jpg", "b/../../a.jpg", "b/..", ".."}) {
    const std::string expected = fmt::format("{}/a.tar: a member's name is absolute or leads out of the archive: '{}'",
                                             folder_.path().native(), name);
    EXPECT_EQ(error(member(name, "x") + kEnd), expected);
    EXPECT_EQ(error(pax("path", name) + member("a.jpg", "x") + kEnd), expected);
    EXPECT_EQ(error(member("././@LongLink", std::string(name) + '\0', 'L') + member("a.jpg", "x") + kEnd), expected);
  }
  EXPECT_THAT(names(member("./a.jpg", "x") + member("..b/c..jpg", "x") + kEnd), ElementsAre("./a.jpg", "..b/c..jpg"));
}

TEST_F(TarIndex, RefusesTwoMembersOfOneName) {
  EXPECT_EQ(error(member("a.jpg", "x") + member("b.jpg", "x") + member("a.jpg", "y") + kEnd),
            fmt::format("{}/a.tar: a member's name is there twice: 'a.jpg'", folder_.path().native()));
}

TEST_F(TarIndex, RefusesNamesThatAreNone) {
  EXPECT_THAT(error(member("", "x") + kEnd), HasSubstr("a member without a name"));
  EXPECT_THAT(error(pax("path", std::string("a\0b.jpg", 7)) + member("a.jpg", "x") + kEnd), HasSubstr("a NUL byte"));
}

TEST_F(TarIndex, RefusesAnEndBehindAPaxHeader) {
  EXPECT_THAT(error(member("a.jpg", "x") + pax("path", "b.jpg")), HasSubstr("ends behind a header that describes"));
  EXPECT_THAT(error(member("a.jpg", "x") + pax("path", "b.jpg") + kEnd), HasSubstr("ends behind a header"));
}

TEST_F(TarIndex, RefusesAMemberBeyondTheEnd) {
  EXPECT_THAT(error(header("a.jpg", 5000, '0') + "abc"), HasSubstr("a member of 5000 bytes, but only 3 follow"));
}

TEST_F(TarIndex, RefusesAWrongChecksum) {
  std::string bytes = member("a.jpg", "abc") + kEnd;
  bytes[3] ^= 1;
  EXPECT_THAT(error(bytes), HasSubstr("checksum"));
}

TEST_F(TarIndex, RefusesAnEndInsideAHeader) {
  EXPECT_THAT(error(member("a.jpg", "abc") + std::string(100, 'x')), HasSubstr("inside a header"));
}

TEST_F(TarIndex, RefusesADamagedPaxRecord) {
  for (const char* record : {"99 path=a\n", "9 pathxab\n", "x", "0 path=a\n", "3 \n"}) {
    EXPECT_NE(error(member("pax", record, 'x') + member("a", "b") + kEnd), "no error") << record;
  }
}

TEST_F(TarIndex, RefusesAHugeName) {
  EXPECT_THAT(error(header("././@LongLink", 1ULL << 30, 'L') + std::string(70000, 'x')),
              HasSubstr("only 70000 follow"));
  EXPECT_THAT(error(member("././@LongLink", std::string(70000, 'x'), 'L') + kEnd), HasSubstr("a name of 70000 bytes"));
}

TEST_F(TarIndex, NeverReachesBeyondADamagedFile) {
  const std::string whole =
      member("a.jpg", "abc") + member("pax", "17 path=name.jpg\n", 'x') + member("b", std::string(700, 'y')) + kEnd;
  std::mt19937 random(1);
  for (int round = 0; round < 3000; ++round) {
    std::string bytes = whole.substr(0, 1 + random() % whole.size());
    for (int i = 0; i < 3; ++i) bytes[random() % bytes.size()] = static_cast<char>(random());
    try {
      for (const TarMember& found : index(bytes)) {
        ASSERT_LE(found.size, bytes.size());
        ASSERT_LE(found.offset, bytes.size() - found.size);
      }
    } catch (const runtime::DataError&) {
      continue;
    }
  }
}

}  // namespace
}  // namespace cskd::shards
