// One test for each kind of damage to lists and layouts, with the message that a user gets.
#include <cmath>
#include <filesystem>

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>

#include "shards/importers/table_reader.h"
#include "tests/shards/importer_fixture.h"

namespace cskd::shards {
namespace {

using config::Source;
using testing::HasSubstr;
using testing::StartsWith;

class ImporterDamage : public ImporterTest {
 protected:
  // A csv source with the columns path, mean and set, on the scale 1 to 5.
  Source table(const std::string& text) const {
    write("t.csv", text);
    Source table = source(Source::csv, "t.csv");
    for (const double bin : {1, 2, 3, 4, 5}) table.add_bins(bin);
    table.mutable_columns()->set_mean("mean");
    table.mutable_columns()->set_split("set");
    return table;
  }
  std::string table_damage(const std::string& rows) const { return damage(table("path,mean,set\n" + rows)); }
};

TEST_F(ImporterDamage, TableWithAnotherNumberOfFields) {
  EXPECT_EQ(table_damage("a,1,train\n\nb,2\n"), "t.csv:4: 2 fields, expected 3 as in the first line");
  EXPECT_EQ(table_damage("a,1,train,x\n"), "t.csv:2: 4 fields, expected 3 as in the first line");
}

TEST_F(ImporterDamage, TableWithBadQuotes) {
  EXPECT_EQ(table_damage("a,1,train\n\"b,2,train\nc,3,train\n"), "t.csv:3: a quote that does not end");
  EXPECT_EQ(table_damage("\"a\"b,1,train\n"), "t.csv:2: text behind the closing quote of a field");
  EXPECT_EQ(table_damage("a\"b\",1,train\n"), "t.csv:2: a quote inside a field that does not begin with one");
  EXPECT_EQ(damage(table("\"path,mean,set\n")), "t.csv:1: a quote that does not end");
  EXPECT_EQ(table_damage("\"" + std::string(3'000'000, '\n')),
            "t.csv:2: a quote that does not end within 1048576 bytes");
}

TEST_F(ImporterDamage, TableWithNulBytes) {
  EXPECT_THAT(table_damage(std::string("a,1,tr\0ain\n", 11)), StartsWith("t.csv:2: a NUL byte"));
  EXPECT_THAT(damage(table(std::string("p\0a\0t\0h\0\n\0", 10))), StartsWith("t.csv:1: a NUL byte"));
}

TEST_F(ImporterDamage, LinesWithoutAnEnd) {
  EXPECT_THAT(table_damage(std::string((1 << 20) + 1, 'a')),
              StartsWith("t.csv:2: the line has more than 1048576 bytes"));
  EXPECT_THAT(table_damage("a\r" + std::string(5 << 20, 'a')), HasSubstr("end with a carriage return alone"));
  EXPECT_THAT(table_damage(std::string(5 << 20, 'a')), StartsWith("t.csv:2: the line has more than 1048576 bytes"));
  EXPECT_THAT(table_damage(std::string(1 << 20, 'a')), HasSubstr("1 fields, expected 3"));
}

TEST_F(ImporterDamage, TableWithoutAFirstLine) {
  EXPECT_EQ(damage(table("")), "t.csv is empty; its first line names columns");
  EXPECT_EQ(damage(table("\n\n")), "t.csv is empty; its first line names columns");
}

TEST_F(ImporterDamage, TableWithoutAColumn) {
  EXPECT_EQ(damage(table("path,maen,set,x\n")),
            "t.csv:1: no column is called 'mean', did you mean 'maen'?; there are 'path', 'maen', 'set', 'x'");
  EXPECT_EQ(damage(table("path,mean,mean,set\n")), "t.csv:1: two columns are called 'mean'");
  std::string many = "path";
  for (int i = 0; i < 99; ++i) many += fmt::format(",column{}", i);
  EXPECT_THAT(damage(table(many + "\n")), testing::EndsWith("'column18', ... (100 in all)"));
}

TEST_F(ImporterDamage, ScoresThatAreImpossible) {
  const std::string outside = "is not from 1 to 5, the centres of the first and the last bin";
  EXPECT_EQ(table_damage("a,0.99,train\n"), "t.csv:2: the score 0.99 " + outside);
  EXPECT_EQ(table_damage("a,5.01,train\n"), "t.csv:2: the score 5.01 " + outside);
  EXPECT_EQ(table_damage("a,nan,train\n"), "t.csv:2: 'nan' is not a finite number");
  EXPECT_EQ(table_damage("a,-inf,train\n"), "t.csv:2: '-inf' is not a finite number");
  EXPECT_EQ(table_damage("a,1e999,train\n"), "t.csv:2: '1e999' is not a number");
  EXPECT_EQ(table_damage("a,3 stars,train\n"), "t.csv:2: '3 stars' is not a number");
  EXPECT_EQ(table_damage("a,\"3,5\",train\n"), "t.csv:2: '3,5' is not a number");
}

TEST_F(ImporterDamage, StddevsThatAreImpossible) {
  for (const auto& [stddev, what] : {std::pair("-0.1", "the stddev -0.1 is impossible for scores from 1 to 5"),
                                     {"4.5", "the stddev 4.5 is impossible for scores from 1 to 5"},
                                     {"x", "'x' is not a number"}}) {
    Source spread = table(fmt::format("path,mean,set,std\na,3,train,{}\n", stddev));
    spread.mutable_columns()->set_stddev("std");
    EXPECT_EQ(damage(spread), fmt::format("t.csv:2: {}", what));
  }
}

TEST_F(ImporterDamage, CountsThatAreImpossible) {
  for (const auto& [counts, what] : {std::pair("1,-1", "a bin has the count -1"),
                                     {"0,0", "all bins are empty: nobody rated it"},
                                     {"1,", "'' is not a number"},
                                     {"1,inf", "'inf' is not a finite number"},
                                     {"1,x", "'x' is not a number"},
                                     {"1e308,1e308", "all bins are empty: nobody rated it"}}) {
    write("t.csv", fmt::format("path,bad,good\na,{}\n", counts));
    Source counted = source(Source::csv, "t.csv");
    for (const double bin : {0, 1}) counted.add_bins(bin);
    for (const char* column : {"bad", "good"}) counted.mutable_columns()->add_counts(column);
    EXPECT_EQ(damage(counted), fmt::format("t.csv:2: {}", what));
  }
}

TEST_F(ImporterDamage, SplitThatIsUnknown) {
  EXPECT_EQ(table_damage("a,3,holdout\n"),
            "t.csv:2: 'holdout' is not a split, expected train, validation, test, unlabelled or nothing");
}

TEST_F(ImporterDamage, PictureNamedTwice) {
  EXPECT_EQ(table_damage("a,3,train\nb,3,train\na,4,test\n"), "t.csv:4: 'a' is named twice");
  std::string rows;
  for (int i = 0; i < 20'000; ++i) rows += fmt::format("{}.jpg,3,train\n", i);
  EXPECT_EQ(table_damage(rows), "no DataError");
  EXPECT_EQ(table_damage(rows + "7.jpg,3,train\n"), "t.csv:20002: '7.jpg' is named twice");
}

TEST_F(ImporterDamage, PicturesInListsOfTwoSplits) {
  write("merge/train.csv", "image,score\na.jpg,1\n");
  write("merge/test.csv", "image,score\na.jpg,1\n");
  std::filesystem::create_directory(folder_ / "TAD66K");
  EXPECT_EQ(damage(source(Source::tad66k)), "merge/test.csv:2: 'a.jpg' is named twice");
}

TEST_F(ImporterDamage, PictureOutsideTheFolder) {
  const std::string why = "is absolute or leads out of its folder: pictures are named relative to the folder of images";
  EXPECT_EQ(table_damage("/etc/a.jpg,3,train\n"),
            "t.csv:2: '/etc/a.jpg' " + why + " (a csv source may allow absolute_paths)");
  EXPECT_EQ(table_damage("b/../../a.jpg,3,train\n"), "t.csv:2: 'b/../../a.jpg' " + why);
  EXPECT_EQ(table_damage("..,3,train\n"), "t.csv:2: '..' " + why);
  EXPECT_EQ(table_damage("..a/b...jpg,3,train\n"), "no DataError");
}

TEST_F(ImporterDamage, AbsolutePathsWhereTheyAreAllowed) {
  const std::string picture = (folder_ / "elsewhere/a.jpg").native();
  pictures({"elsewhere/a.jpg", "b.jpg"});
  config::Source source = table("path,mean,set\n" + picture + ",3,train\nb.jpg,3,train\n");
  source.set_absolute_paths(true);
  const std::vector<Entry> entries = list(source);
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_EQ(entries[0].key, picture);
  EXPECT_EQ(entries[0].file, picture);
  EXPECT_EQ(entries[0].fault, "");
  EXPECT_EQ(entries[1].fault, "");
  source = table("path,mean,set\n/a/../b.jpg,3,train\n");
  source.set_absolute_paths(true);
  EXPECT_THAT(damage(source), HasSubstr("leads out of its folder"));
}

TEST_F(ImporterDamage, PictureWithoutAName) {
  EXPECT_EQ(table_damage(",3,train\n"), "t.csv:2: '' names no picture");
  EXPECT_EQ(table_damage("a/,3,train\n"), "t.csv:2: 'a/' names no picture");
}

TEST_F(ImporterDamage, NameThatNoFileCanHave) {
  EXPECT_THAT(table_damage(std::string(5000, 'a') + ",3,train\n"), HasSubstr("has 5000 bytes, at most 4096"));
  EXPECT_THAT(summary(table("path,mean,set\n" + std::string(300, 'a') + ",3,train\n")).at(0),
              testing::EndsWith("rated, but the picture is missing"));
}

TEST_F(ImporterDamage, FolderInPlaceOfAPicture) {
  std::filesystem::create_directory(folder_ / "a.jpg");
  EXPECT_THAT(summary(table("path,mean,set\na.jpg,3,train\n")).at(0), "a.jpg rated, but it is not a regular file");
}

TEST_F(ImporterDamage, SourceThatIsNotThere) {
  EXPECT_EQ(damage(source(Source::folder, "gone")), "gone does not exist or is not a folder");
  EXPECT_EQ(damage(source(Source::csv, "gone.csv")), "gone.csv does not exist or is not a file");
  EXPECT_EQ(damage(source(Source::webdataset, "gone")), "gone does not exist, or is neither a folder nor a tar file");
  write("empty/a.txt", "");
  EXPECT_EQ(damage(source(Source::webdataset, "empty")), "empty holds no .tar file: is the path right?");
}

TEST_F(ImporterDamage, ListsThatAreNotThere) {
  std::filesystem::create_directory(folder_ / "d");
  EXPECT_EQ(
      damage(source(Source::spaq, "d")),
      "d has no Annotations/MOS and Image attribute scores.csv, no Annotations/MOS_and_Image_attribute_scores.csv, "
      "no MOS and Image attribute scores.csv, no MOS_and_Image_attribute_scores.csv; a source of kind \"spaq\" needs "
      "this file");
  for (const auto& [kind, list] : {std::pair(Source::ava, "AVA.txt"),
                                   {Source::aadb, "imgListTrainRegression_score.txt"},
                                   {Source::tad66k, "merge/train.csv"},
                                   {Source::para, "annotation/PARA-GiaaTrain.csv"},
                                   {Source::koniq10k, "koniq10k_distributions_sets.csv"},
                                   {Source::flickr_aes, "FLICKR-AES_image_score.txt"},
                                   {Source::eva, "data/votes_filtered.csv"}}) {
    Source incomplete = source(kind, "d");
    incomplete.set_images(folder_.path().native());
    EXPECT_THAT(damage(incomplete), StartsWith(fmt::format("d has no {}", list)));
  }
}

TEST_F(ImporterDamage, PicturesThatAreNotThere) {
  write("FLICKR-AES_image_score.txt", "a.jpg 1\n");
  Source flickr = source(Source::flickr_aes);
  EXPECT_THAT(damage(flickr), HasSubstr("has no 40K, no FLICKR-AES-001/40K, no images; a source of kind \"flickr_aes\" "
                                        "needs its folder of images, or the key images that says where it is"));
  flickr.set_images((folder_ / "gone").native());
  EXPECT_EQ(damage(flickr), "gone does not exist or is not a folder: the key images of source 'photos' names it");
}

TEST_F(ImporterDamage, ListOfScoresWithBadLines) {
  std::filesystem::create_directory(folder_ / "40K");
  const auto list_damage = [&](const std::string& text) {
    write("FLICKR-AES_image_score.txt", text);
    return damage(source(Source::flickr_aes));
  };
  const std::string file = "FLICKR-AES_image_score.txt";
  EXPECT_EQ(list_damage("a.jpg 1\nb.jpg\n"), file + ":2: 'b.jpg' alone, expected a picture's name and its score");
  EXPECT_EQ(list_damage("a.jpg good\n"), file + ":1: 'good' is not a number");
  EXPECT_EQ(list_damage("a.jpg 1.5\n"),
            file + ":1: the score 1.5 is not from 0 to 1, the centres of the first and the last bin");
  EXPECT_EQ(list_damage("a.jpg 1\n\n a.jpg 1\n"), file + ":3: 'a.jpg' is named twice");
}

TEST_F(ImporterDamage, AvaWithBadLines) {
  std::filesystem::create_directory(folder_ / "images");
  const auto ava_damage = [&](const std::string& ratings, const std::string& tests) {
    write("AVA.txt", ratings);
    write("aesthetics_image_lists/generic_test.jpgl", tests);
    return damage(source(Source::ava));
  };
  const std::string good = "1 7 0 1 5 17 38 36 15 6 5 1 1 22 1396\n";
  EXPECT_EQ(ava_damage(good + "2 8 0 1 5\n", ""), "AVA.txt:2: 5 numbers, expected 15");
  EXPECT_EQ(ava_damage("1 7.jpg 0 1 5 17 38 36 15 6 5 1 1 22 1396\n", ""), "AVA.txt:1: '7.jpg' is not a whole number");
  EXPECT_EQ(ava_damage("1 7 0 1 5 -17 38 36 15 6 5 1 1 22 1396\n", ""), "AVA.txt:1: a bin has the count -17");
  EXPECT_EQ(ava_damage("1 7 0 0 0 0 0 0 0 0 0 0 1 22 1396\n", ""), "AVA.txt:1: all bins are empty: nobody rated it");
  EXPECT_EQ(ava_damage("1 -7 0 1 5 17 38 36 15 6 5 1 1 22 1396\n", ""), "AVA.txt:1: -7 is no image id");
  EXPECT_EQ(ava_damage(good + good, ""), "AVA.txt:2: '7.jpg' is named twice");
  EXPECT_EQ(ava_damage(good, "7\n8 9\n"),
            "aesthetics_image_lists/generic_test.jpgl:2: 2 numbers, expected one image id");
  EXPECT_EQ(ava_damage(good, "7\n7\n"), "aesthetics_image_lists/generic_test.jpgl:2: 7 is named twice");
}

TEST_F(ImporterDamage, EvaWithBadVotes) {
  std::filesystem::create_directories(folder_ / "images/EVA_together");
  const auto vote_damage = [&](const std::string& votes) {
    write("data/votes_filtered.csv", "image_id=user_id=score\n" + votes);
    return damage(source(Source::eva));
  };
  const std::string file = "data/votes_filtered.csv";
  EXPECT_EQ(vote_damage("1=u=11\n"), file + ":2: a vote of 11, expected a whole number from 0 to 10");
  EXPECT_EQ(vote_damage("1=u=5\n1=v=5.5\n"), file + ":3: a vote of 5.5, expected a whole number from 0 to 10");
  EXPECT_EQ(vote_damage("1=u=-1\n"), file + ":2: a vote of -1, expected a whole number from 0 to 10");
  EXPECT_EQ(vote_damage("1=u=\n"), file + ":2: '' is not a number");
  EXPECT_THAT(vote_damage("../1=u=5\n"), StartsWith(file + ":2: '../1' is absolute or leads out of its folder"));
  pictures({"images/EVA_together/a/1.jpg", "images/EVA_together/b/1.png"});
  EXPECT_EQ(
      vote_damage("1=u=5\n"),
      "images/EVA_together/a/1.jpg and images/EVA_together/b/1.png are both the picture 1; the key images can name a "
      "folder with one of them");
}

TEST_F(ImporterDamage, MessagesQuoteHostileTextSafely) {
  const std::string message = table_damage("a,\x1B[31m" + std::string(500, '9') + "x,train\n");
  EXPECT_THAT(message, HasSubstr("'?[31m999"));
  EXPECT_THAT(message, HasSubstr("...' is not a number"));
  EXPECT_LT(message.size(), 120U);
}

TEST_F(ImporterDamage, TablesAreReadInConstantMemory) {
  constexpr int kRows = 400'000;
  std::string text = "path,mean,set,filler\n";
  for (int i = 0; i < kRows; ++i) text += fmt::format("{},3,train,{:0>200}\n", i, i);
  write("t.csv", text);
  text = std::string();
  const auto peak = [] {
    rusage usage{};
    ::getrusage(RUSAGE_SELF, &usage);
    return usage.ru_maxrss;  // KiB
  };
  TableReader reader(folder_ / "t.csv", std::nullopt);
  const auto before = peak();
  int rows = 0;
  while (reader.next()) ++rows;
  EXPECT_EQ(rows, kRows);
  EXPECT_LT(peak() - before, 4096) << "the file has 84 MB";
}

}  // namespace
}  // namespace cskd::shards
