// Archives are made by GNU tar and Python elsewhere (tests/stages, tests/demo); here are damaged ones.
#include "shards/importers/tar_index.h"

#include <fstream>
#include <random>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/error.h"
#include "tests/temporary_folder.h"

namespace cskd::shards {
namespace {

std::string header(const std::string& name, std::uint64_t size, char type) {
  std::string block(512, '\0');
  block.replace(0, name.size(), name);
  block.replace(100, 7, "0000644");
  block.replace(124, 11, fmt::format("{:011o}", size));
  block.replace(148, 8, "        ");
  block[156] = type;
  block.replace(257, 8, std::string("ustar\00000", 8));
  unsigned sum = 0;
  for (const char c : block) sum += static_cast<unsigned char>(c);
  block.replace(148, 8, fmt::format("{:06o}", sum) + std::string("\0 ", 2));
  return block;
}

std::string member(const std::string& name, const std::string& contents, char type = '0') {
  return header(name, contents.size(), type) + contents + std::string((512 - contents.size() % 512) % 512, '\0');
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

TEST_F(TarIndex, RefusesAMemberBeyondTheEnd) {
  EXPECT_THAT(error(header("a.jpg", 5000, '0') + "abc"),
              testing::HasSubstr("a member of 5000 bytes, but only 3 follow"));
}

TEST_F(TarIndex, RefusesAWrongChecksum) {
  std::string bytes = member("a.jpg", "abc") + kEnd;
  bytes[3] ^= 1;
  EXPECT_THAT(error(bytes), testing::HasSubstr("checksum"));
}

TEST_F(TarIndex, RefusesAnEndInsideAHeader) {
  EXPECT_THAT(error(member("a.jpg", "abc") + std::string(100, 'x')), testing::HasSubstr("inside a header"));
}

TEST_F(TarIndex, RefusesADamagedPaxRecord) {
  for (const char* record : {"99 path=a\n", "9 pathxab\n", "x", "0 path=a\n", "3 \n"}) {
    EXPECT_NE(error(member("pax", record, 'x') + member("a", "b") + kEnd), "no error") << record;
  }
}

TEST_F(TarIndex, RefusesAHugeName) {
  EXPECT_THAT(error(header("././@LongLink", 1ULL << 30, 'L') + std::string(70000, 'x')),
              testing::HasSubstr("only 70000 follow"));
  EXPECT_THAT(error(member("././@LongLink", std::string(70000, 'x'), 'L') + kEnd),
              testing::HasSubstr("a name of 70000 bytes"));
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
