// WebDataset: which archives are the parts, and which members the samples.
#include <filesystem>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/shards/importer_fixture.h"

namespace cskd::shards {
namespace {

using config::Source;
using testing::ElementsAre;

class Webdataset : public ImporterTest {
 protected:
  static std::string member(const std::string& name, const std::string& contents) {
    std::string block(512, '\0');
    block.replace(0, name.size(), name);
    block.replace(124, 11, fmt::format("{:011o}", contents.size()));
    block.replace(148, 8, "        ");
    block[156] = '0';
    unsigned sum = 0;
    for (const char c : block) sum += static_cast<unsigned char>(c);
    block.replace(148, 6, fmt::format("{:06o}", sum));
    return block + contents + std::string((512 - contents.size() % 512) % 512, '\0');
  }
  void archive(const std::string& name, const std::vector<std::string>& members) const {
    std::string bytes;
    for (const std::string& picture : members) bytes += member(picture, "bytes of " + picture);
    write(name, bytes + std::string(1024, '\0'));
  }
};

TEST_F(Webdataset, PartsAreTheArchivesOfAllSubfoldersInOrder) {
  for (const char* name :
       {"10.tar", "2.tar", "b/1.tar", "B.tar", "b-1.tar", ".hidden.tar", ".h/1.tar", "C.TAR", "c.txt"}) {
    archive(name, {});
  }
  EXPECT_THAT(make_importer(source(Source::webdataset))->parts(),
              ElementsAre("10.tar", "2.tar", "B.tar", "C.TAR", "b-1.tar", "b/1.tar"));
}

TEST_F(Webdataset, CompressedArchivesAreAnError) {
  for (const char* name : {"c.tar.gz", "c.tgz", "c.TAR.zst"}) {
    archive("1.tar", {"x.jpg"});
    archive(name, {});
    EXPECT_THAT(damage(source(Source::webdataset)), testing::HasSubstr(std::string(name) + " is compressed")) << name;
    std::filesystem::remove(folder_ / name);
  }
}

TEST_F(Webdataset, TellsWhatIsPassedOver) {
  archive("1.tar", {"2.jpg", "2.json", "2.CLS", "readme"});
  std::vector<std::string> found;
  for (const Entry& entry : list_all(source(Source::webdataset))) found.push_back(entry.passed_over);
  EXPECT_THAT(found, ElementsAre("", ".json", ".cls", "no extension"));
}

TEST_F(Webdataset, LoopsOfLinksEnd) {
  archive("a/1.tar", {"x.jpg"});
  std::filesystem::create_directory_symlink(folder_.path(), folder_ / "a/loop");
  EXPECT_THAT(make_importer(source(Source::webdataset))->parts(), ElementsAre("a/1.tar"));
}

TEST_F(Webdataset, ALinkToNoArchiveIsAnError) {
  std::filesystem::create_symlink("gone.tar", folder_ / "1.tar");
  EXPECT_EQ(damage(source(Source::webdataset)), "1.tar is a link to nothing, or not a regular file");
}

TEST_F(Webdataset, SamplesAreThePicturesInOrderOfTheArchive) {
  archive("a/1.tar", {"2.jpg", "2.json", "1.PNG", ".hidden.jpg", "x/._3.jpg", "./4.webp"});
  const std::vector<Entry> entries = list(source(Source::webdataset));
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries[0].key, "a/1.tar/2.jpg");
  EXPECT_EQ(entries[1].key, "a/1.tar/1.PNG");
  EXPECT_EQ(entries[2].key, "a/1.tar/./4.webp");
  const std::string bytes = tests::read_file(entries[1].file);
  EXPECT_EQ(bytes.substr(entries[1].offset, entries[1].size), "bytes of 1.PNG");
  EXPECT_EQ(entries[1].split, Split::kUnlabelled);
}

TEST_F(Webdataset, OneArchiveIsOnePart) {
  archive("a/1.tar", {"2.jpg"});
  const Source one = source(Source::webdataset, "a/1.tar");
  EXPECT_THAT(make_importer(one)->parts(), ElementsAre("1.tar"));
  EXPECT_THAT(summary(one), ElementsAre("1.tar/2.jpg unlabelled"));
  EXPECT_EQ(list(one).at(0).file, (folder_.path() / "a/1.tar").native());
}

TEST_F(Webdataset, SamplesChangeWithTheirArchive) {
  archive("1.tar", {"2.jpg"});
  const std::int64_t before = list(source(Source::webdataset)).at(0).changed;
  const auto time = std::filesystem::last_write_time(folder_ / "1.tar");
  std::filesystem::last_write_time(folder_ / "1.tar", time + std::chrono::nanoseconds(1'000'000'007));
  EXPECT_EQ(list(source(Source::webdataset)).at(0).changed - before, 1'000'000'007);
}

TEST_F(Webdataset, DamageNamesArchiveAndMember) {
  archive("1.tar", {"a.jpg"});
  archive("2.tar", {"../a.jpg"});
  EXPECT_EQ(damage(source(Source::webdataset)),
            "2.tar: a member's name is absolute or leads out of the archive: '../a.jpg'");
}

}  // namespace
}  // namespace cskd::shards
