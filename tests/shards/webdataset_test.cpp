// WebDataset: which archives are the parts, and which members the samples.
#include <filesystem>
#include <utility>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/shards/importer_fixture.h"
#include "tests/support/tar_member.h"

namespace cskd::shards {
namespace {

using config::Source;
using testing::ElementsAre;

class Webdataset : public ImporterTest {
 protected:
  void archive(const std::string& name, const std::vector<std::string>& members) const {
    std::string bytes;
    for (const std::string& picture : members) bytes += tests::tar_member(picture, "bytes of " + picture);
    write(name, bytes + std::string(1024, '\0'));
  }
};

TEST_F(Webdataset, PartsAreTheArchivesOfAllSubfoldersInOrder) {
  for (const char* name :
       {"10.tar", "2.tar", "b/1.tar", "B.tar", "b-1.tar", ".hidden.tar", ".h/1.tar", "C.TAR", "c.txt"}) {
    archive(name, {});
  }
  EXPECT_THAT(parts(source(Source::webdataset)),
              ElementsAre("10.tar", "2.tar", "B.tar", "C.TAR", "b-1.tar", "b/1.tar"));
}

// What Python makes of them is packed in tests/packing/changed_sources_test.py.
TEST_F(Webdataset, ADamagedCompressedArchiveIsAnErrorAndLeavesNothing) {
  write("1.tar.gz", "\x1F\x8B\x08 and no more");
  const Source damaged = source(Source::webdataset);
  EXPECT_THAT(damage(damaged), testing::StartsWith("1.tar.gz cannot be unpacked: "));
  EXPECT_TRUE(std::filesystem::is_empty(damaged.path() + ".unpacked"));
}

TEST_F(Webdataset, ACompressionByNameAloneIsNone) {
  archive("1.tgz", {"x.jpg"});
  EXPECT_THAT(summary(source(Source::webdataset)), ElementsAre("1.tgz/x.jpg unlabelled"));
}

TEST_F(Webdataset, TellsWhatIsPassedOver) {
  archive("1.tar", {"2.jpg", "2.json", "2.CLS", "readme"});
  pictures({"1.tar.idx", "loose.jpg"});
  std::vector<std::string> found;
  for (const Entry& entry : list_all(source(Source::webdataset))) found.push_back(entry.passed_over);
  EXPECT_THAT(found,
              ElementsAre(".idx beside the archives", ".jpg beside the archives", "", ".json", ".cls", "no extension"));
}

TEST_F(Webdataset, WithoutAnExtensionTheBytesTell) {
  write("1.tar",
        tests::tar_member("a", "\xFF\xD8\xFF and the rest") + tests::tar_member("b", "no picture, whatever it is") +
            tests::tar_member("c.d41d8cd98f00b204e9800998", "\x89PNG\r\n\x1A\n....") + std::string(1024, '\0'));
  EXPECT_THAT(summary(source(Source::webdataset)),
              ElementsAre("1.tar/a unlabelled", "1.tar/c.d41d8cd98f00b204e9800998 unlabelled"));
}

TEST_F(Webdataset, LoopsOfLinksEnd) {
  archive("a/1.tar", {"x.jpg"});
  std::filesystem::create_directory_symlink(folder_.path(), folder_ / "a/loop");
  EXPECT_THAT(parts(source(Source::webdataset)), ElementsAre("a/1.tar"));
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
  EXPECT_THAT(parts(one), ElementsAre("1.tar"));
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

class Sidecars : public Webdataset {
 protected:
  // Name and contents of each member.
  Source rated(const std::vector<std::pair<std::string, std::string>>& members, const std::string& mean) const {
    std::string bytes;
    for (const auto& [name, contents] : members) bytes += tests::tar_member(name, contents);
    write("1.tar", bytes + std::string(1024, '\0'));
    Source source = this->source(Source::webdataset, "1.tar");
    for (const double bin : {0.0, 5.0, 10.0}) source.add_bins(bin);
    if (!mean.empty()) source.mutable_columns()->set_mean(mean);
    return source;
  }

  static std::vector<std::string> ratings(const Source& source) {
    std::vector<std::string> lines;
    for (const Entry& entry : list(source)) {
      lines.push_back(fmt::format("{} {} {}", entry.key.substr(entry.key.find('/') + 1), to_string(entry.split),
                                  entry.label ? fmt::format("{:g}", entry.label->mean) : "-"));
    }
    return lines;
  }
};

TEST_F(Sidecars, HoldMeansInJsonWhereverTheyLie) {
  const Source top = rated({{"a.json", R"({"score": 2.5, "url": "http://x"})"},
                            {"a.jpg", ""},
                            {"b.JSON", R"({"score": "7"})"},
                            {"b.png", ""},
                            {"c.jpg", ""},
                            {"d.jpg", ""},
                            {"d.json", R"({"score": null})"}},
                           "score");
  EXPECT_THAT(ratings(top),
              ElementsAre("a.jpg train 2.5", "b.png train 7", "c.jpg unlabelled -", "d.jpg unlabelled -"));
  EXPECT_EQ(list_all(top).size(), 4U) << "files that are read are not passed over";
  EXPECT_THAT(ratings(rated({{"a.jpg", ""}, {"a.json", R"({"r": {"mean/5": [1, 4]}})"}}, "/r/mean~15/1")),
              ElementsAre("a.jpg train 4"));
}

TEST_F(Sidecars, HoldMeansAsText) {
  EXPECT_THAT(ratings(rated({{"x/a.jpg", ""}, {"x/a.cls", "3\n"}, {"a.cls", "9"}}, ".cls")),
              ElementsAre("x/a.jpg train 3"));
}

TEST_F(Sidecars, BelongToANameWithDots) {
  const Source source = rated({{"x.y/a.1.left.jpg", ""},
                               {"x.y/a.1.left.json", R"({"s": 1})"},
                               {"x.y/a.1.right.jpg", ""},
                               {"x.y/a.json", R"({"s": 2})"},
                               {"x.json", R"({"s": 3})"}},
                              "s");
  EXPECT_THAT(ratings(source), ElementsAre("x.y/a.1.left.jpg train 1", "x.y/a.1.right.jpg train 2"));
}

TEST_F(Sidecars, HoldCountsAndSplits) {
  Source source = rated({{"a.jpg", ""}, {"a.json", R"({"votes": [1, 0, 1], "part": "test"})"}}, "");
  source.mutable_columns()->add_counts("votes");
  source.mutable_columns()->set_split("part");
  EXPECT_THAT(ratings(source), ElementsAre("a.jpg test 5"));
  source = rated({{"a.jpg", ""}, {"a.txt", "[0, 1, 1]\n"}}, "");
  source.mutable_columns()->add_counts(".txt");
  EXPECT_THAT(ratings(source), ElementsAre("a.jpg train 7.5"));
  source = rated({{"a.jpg", ""}, {"a.json", R"({"1": 3, "2": 0, "3": 0})"}}, "");
  for (const char* column : {"1", "2", "3"}) source.mutable_columns()->add_counts(column);
  EXPECT_THAT(ratings(source), ElementsAre("a.jpg train 0"));
}

TEST_F(Sidecars, DamageNamesArchiveFileAndField) {
  EXPECT_EQ(damage(rated({{"a.jpg", ""}, {"a.json", "{\"score\": 2"}}, "score")),
            "1.tar: a.json: is not JSON, at byte 12");
  EXPECT_EQ(damage(rated({{"a.jpg", ""}, {"a.json", "{\"score\": [2]}"}}, "score")),
            "1.tar: a.json: score: '[2]' is not a number");
  EXPECT_THAT(damage(rated({{"a.jpg", ""}, {"a.json", "{\"score\": 11}"}}, "score")),
              testing::StartsWith("1.tar: a.json: score: "));
  EXPECT_EQ(
      damage(rated({{"a.jpg", ""}, {"a.json", "{\"score\": 1, \"id\": 2}"}}, "scor")),
      "1.tar: columns.mean is \"scor\", but not one of 1 pictures has a .json with this field beside it; the last "
      ".json has 'id', 'score' (archives without ratings can be a source of their own)");
  EXPECT_EQ(damage(rated({{"a.jpg", ""}, {"b.cls", "1"}}, ".cls")),
            "1.tar: columns.mean is \".cls\", but not one of 1 pictures has a .cls file beside it (archives without "
            "ratings can be a source of their own)");
}

}  // namespace
}  // namespace cskd::shards
