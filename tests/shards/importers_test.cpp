// Every kind of source, in the layout it is published in: keys, splits, labels, what is missing.
#include <cmath>
#include <filesystem>

#include <fcntl.h>
#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include "tests/shards/importer_fixture.h"

namespace cskd::shards {
namespace {

using config::Source;
using testing::ElementsAre;
using testing::FloatNear;
using testing::HasSubstr;
using testing::Pointwise;

class Importers : public ImporterTest {};

TEST_F(Importers, FolderListsPicturesOfAllSubfoldersInOrder) {
  pictures({"b/2.JPG", "b/10.webp", "a.jpg", "c.png", "B/x.jpeg", "notes.txt", "d.jpe", "e.gif"});
  const std::vector<Entry> entries = list(source(Source::folder));
  ASSERT_EQ(entries.size(), 6U);
  EXPECT_EQ(entries[0].key, "B/x.jpeg");
  EXPECT_EQ(entries[1].key, "a.jpg");
  EXPECT_EQ(entries[2].key, "b/10.webp");
  EXPECT_EQ(entries[3].key, "b/2.JPG");
  EXPECT_EQ(entries[4].key, "c.png");
  EXPECT_EQ(entries[5].key, "d.jpe");
  EXPECT_EQ(entries[3].file, (folder_.path() / "b/2.JPG").native());
  EXPECT_EQ(entries[3].offset, 0U);
  EXPECT_EQ(entries[3].size, std::string("bytes of b/2.JPG").size());
  EXPECT_EQ(entries[3].split, Split::kUnlabelled);
  EXPECT_FALSE(entries[3].label.has_value());
}

TEST_F(Importers, FolderTellsWhenAPictureChanged) {
  pictures({"a.jpg"});
  const timespec times[2] = {{.tv_sec = 5, .tv_nsec = 6}, {.tv_sec = 1'700'000'000, .tv_nsec = 123'456'789}};
  ASSERT_EQ(::utimensat(AT_FDCWD, (folder_ / "a.jpg").c_str(), times, 0), 0);
  EXPECT_EQ(list(source(Source::folder)).at(0).changed, 1'700'000'000'123'456'789);
}

TEST_F(Importers, FolderPassesOverHiddenNames) {
  pictures({".a.jpg", ".hidden/b.jpg", "c/.d/e.jpg", "c/f.jpg", "c/._f.jpg"});
  EXPECT_THAT(summary(source(Source::folder)), ElementsAre("c/f.jpg unlabelled"));
}

TEST_F(Importers, FolderVisitsAFolderOnceWhateverTheWaysToIt) {
  pictures({"b/1.jpg"});
  std::filesystem::create_directory_symlink("b", folder_ / "a");
  std::filesystem::create_directory_symlink(folder_.path(), folder_ / "b/loop");
  std::filesystem::create_directory_symlink("self", folder_ / "self");
  EXPECT_THAT(summary(source(Source::folder)), ElementsAre("a/1.jpg unlabelled"));
}

TEST_F(Importers, FolderFollowsLinksToPictures) {
  tests::TemporaryFolder elsewhere;
  std::ofstream(elsewhere / "x.bin") << "seven b";
  std::filesystem::create_symlink(elsewhere / "x.bin", folder_ / "a.jpg");
  const std::vector<Entry> entries = list(source(Source::folder));
  ASSERT_EQ(entries.size(), 1U);
  EXPECT_EQ(entries[0].size, 7U);
  EXPECT_EQ(entries[0].fault, "");
}

TEST_F(Importers, FolderTellsOfLinksToNothingAndOfWhatIsNoFile) {
  std::filesystem::create_symlink("gone.jpg", folder_ / "a.jpg");
  std::filesystem::create_symlink("b.jpg", folder_ / "b.jpg");
  std::filesystem::create_symlink("gone", folder_ / "gone.txt");
  ASSERT_EQ(::mkfifo((folder_ / "c.jpg").c_str(), 0600), 0);
  EXPECT_THAT(summary(source(Source::folder)),
              ElementsAre("a.jpg a link to nothing", "b.jpg a link to nothing", "c.jpg not a regular file"));
}

TEST_F(Importers, FolderThatCannotBeReadIsAnErrorThatNamesIt) {
  pictures({"a/b/1.jpg"});
  std::filesystem::permissions(folder_.path(), std::filesystem::perms::all);
  std::filesystem::permissions(folder_ / "a/b", std::filesystem::perms::none);
  const uid_t user = ::geteuid();
  ASSERT_EQ(::seteuid(user == 0 ? 65534 : user), 0);  // root reads everything
  try {
    list(source(Source::folder));
    ADD_FAILURE() << "was listed";
  } catch (const runtime::Error& error) {
    EXPECT_EQ(without_folder(error.what()), "cannot read folder a/b: Permission denied");
  }
  ASSERT_EQ(::seteuid(user), 0);
  std::filesystem::permissions(folder_ / "a/b", std::filesystem::perms::owner_all);
}

TEST_F(Importers, AvaReadsCountsAndTheTestList) {
  // Two lines of AVA.txt; the index and the tags do not matter.
  write("AVA.txt",
        "1 953619 0 1 5 17 38 36 15 6 5 1 1 22 1396\n2 953958 10 7 15 26 26 21 10 8 1 2 15 21 1396\n"
        "3 954184 0 0 0 0 0 0 0 0 0 7 0 0 1396\n");
  write("aesthetics_image_lists/generic_test.jpgl", "953958\n77\n");
  pictures({"images/953619.jpg", "images/953958.jpg"});
  const std::vector<Entry> entries = list(source(Source::ava));
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries[0].key, "953619.jpg");
  EXPECT_EQ(entries[0].split, Split::kTrain);
  EXPECT_EQ(entries[1].split, Split::kTest);
  EXPECT_EQ(entries[1].file, (folder_.path() / "images/953958.jpg").native());
  // (1*2 + 2*... ) by hand: 124 votes, sum 706; squares 4296.
  // 124 votes, their sum 699, the sum of their squares 4191.
  EXPECT_NEAR(entries[0].label->mean, 699.0 / 124, 1e-6);
  EXPECT_NEAR(entries[0].label->stddev, std::sqrt(4191.0 / 124 - std::pow(699.0 / 124, 2)), 1e-6);
  EXPECT_NEAR(entries[0].label->histogram[4], 38.0 / 124, 1e-7);
  EXPECT_EQ(entries[2].fault, "rated, but the picture is missing");
  EXPECT_EQ(entries[2].label->mean, 10);
  EXPECT_EQ(bin_centres(source(Source::ava)), (std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}));
}

TEST_F(Importers, AadbTakesItsThreeListsAndTheTestPicturesBesideTheOthers) {
  write("imgListFiles_label/imgListTrainRegression_score.txt", "farm1_1_b.jpg 0.45\nfarm1_2_b.jpg 1\n");
  write("imgListFiles_label/imgListValidationRegression_score.txt", "farm1_3_b.jpg 0\n");
  write("imgListFiles_label/imgListTestNewRegression_score.txt", "farm1_4_b.jpg 0.5 \r\n\n");
  pictures({"datasetImages_originalSize/farm1_1_b.jpg", "datasetImages_originalSize/farm1_3_b.jpg",
            "AADB_newtest_originalSize/farm1_4_b.jpg", "datasetImages_warp256/farm1_2_b.jpg"});
  EXPECT_THAT(summary(source(Source::aadb)),
              ElementsAre("farm1_1_b.jpg train", "farm1_2_b.jpg rated, but the picture is missing",
                          "farm1_3_b.jpg validation", "farm1_4_b.jpg test"));
  const std::vector<Entry> entries = list(source(Source::aadb));
  EXPECT_NEAR(entries[0].label->mean, 0.45, 1e-7);
  EXPECT_THAT(entries[1].label->histogram, ElementsAre(0, 0, 0, 0, 1));
  EXPECT_THAT(entries[2].label->histogram, ElementsAre(1, 0, 0, 0, 0));
  EXPECT_EQ(bin_centres(source(Source::aadb)), (std::vector<float>{0, 0.25, 0.5, 0.75, 1}));
}

TEST_F(Importers, AadbTakesAllPicturesFromTheSmallVersion) {
  for (const char* part : {"Train", "Validation", "TestNew"}) {
    write(fmt::format("imgList{}Regression_score.txt", part), fmt::format("{}.jpg 0.5", part));
  }
  pictures({"datasetImages_warp256/Train.jpg", "datasetImages_warp256/Validation.jpg",
            "datasetImages_warp256/TestNew.jpg", "AADB_newtest_originalSize/TestNew.jpg"});
  EXPECT_EQ(list(source(Source::aadb)).at(2).file, (folder_.path() / "datasetImages_warp256/TestNew.jpg").native());
}

TEST_F(Importers, Tad66kReadsTheTablesOverAllThemes) {
  write("merge/train.csv", "image,score\r\nlanphere54810922.jpg,2.85\r\n43751877@N085618633908.jpg,2.21\r\n");
  write("merge/test.csv", "image,score\r\nhs_yin152947873.jpg,1.9\r\n");
  write("unmerge/test/art.csv", "image,score\r\nhs_yin152947873.jpg,1.9\r\n");
  pictures({"TAD66K/lanphere54810922.jpg", "TAD66K/43751877@N085618633908.jpg", "TAD66K/hs_yin152947873.jpg"});
  EXPECT_THAT(
      summary(source(Source::tad66k)),
      ElementsAre("lanphere54810922.jpg train", "43751877@N085618633908.jpg train", "hs_yin152947873.jpg test"));
  const Label label = *list(source(Source::tad66k)).at(0).label;
  ASSERT_EQ(label.histogram.size(), 11U);
  EXPECT_NEAR(label.mean, 2.85, 1e-6);
  EXPECT_NEAR(label.stddev, 1.6, 0.1);  // 0.16 of the range, a little less for the part that is cut off
}

// The first columns, and rows, of the published tables.
const std::string kParaHeader =
    "imageName,sessionId,semantic,aestheticScore_1.0,aestheticScore_1.5,aestheticScore_2.0,aestheticScore_2.5,"
    "aestheticScore_3.0,aestheticScore_3.5,aestheticScore_4.0,aestheticScore_4.5,aestheticScore_5.0,"
    "aestheticScore_mean,aestheticScore_std,qualityScore_mean\n";

TEST_F(Importers, ParaReadsCountsByTheNamesOfTheirColumns) {
  write("annotation/PARA-GiaaTrain.csv",
        kParaHeader + "iaa_pub10074_.jpg,session144,stilllife,2,9,10,4,1,1,0,0,0,1.925925926,0.556172497,1.95\n");
  write("annotation/PARA-GiaaTest.csv",
        kParaHeader +
            "iaa_pub10022_.jpg,session144,plant,0,3,2,1,7,8,4,2,0,3.148148148,0.836823965,3.16\n"
            "iaa_pub10093_.jpg,session145,food,1,0,2,6,9,5,3,0,0,2.942307692,0.669772106,3.09\n");
  pictures({"imgs/session144/iaa_pub10074_.jpg", "imgs/session144/iaa_pub10022_.jpg"});
  EXPECT_THAT(summary(source(Source::para)),
              ElementsAre("session144/iaa_pub10074_.jpg train", "session144/iaa_pub10022_.jpg test",
                          "session145/iaa_pub10093_.jpg rated, but the picture is missing"));
  const std::vector<Entry> entries = list(source(Source::para));
  // The tables' own mean and std follow from the counts.
  EXPECT_NEAR(entries[0].label->mean, 1.925925926, 1e-6);
  EXPECT_NEAR(entries[0].label->stddev, 0.556172497, 1e-6);
  EXPECT_NEAR(entries[1].label->mean, 3.148148148, 1e-6);
  EXPECT_NEAR(entries[1].label->stddev, 0.836823965, 1e-6);
  EXPECT_NEAR(entries[1].label->histogram[5], 8.0 / 27, 1e-7);
}

TEST_F(Importers, Koniq10kReadsSharesAndItsOwnSplit) {
  write("koniq10k_distributions_sets.csv",
        "image_name,c1,c2,c3,c4,c5,c_total,MOS,SD,set\n"
        "10004473376.jpg,0.0,0.0,0.238095238095,0.695238095238,0.0666666666667,105,77.3836206897,0.527277894494,"
        "training\n"
        "10007357496.jpg,0.0,0.03125,0.46875,0.489583333333,0.0104166666667,96,68.7285714286,0.580003024795,test\n"
        "10043785683.jpg,0.0,0.0,0.433962264151,0.566037735849,0.0,106,71.2043269231,0.497974333332,validation\n");
  pictures({"512x384/10004473376.jpg", "512x384/10007357496.jpg", "512x384/10043785683.jpg"});
  EXPECT_THAT(summary(source(Source::koniq10k)),
              ElementsAre("10004473376.jpg train", "10007357496.jpg test", "10043785683.jpg validation"));
  const Label label = *list(source(Source::koniq10k)).at(0).label;
  // 25, 73 and 7 of 105 votes. The published SD divides by one vote less.
  EXPECT_NEAR(label.mean, (25 * 3 + 73 * 4 + 7 * 5) / 105.0, 1e-6);
  EXPECT_NEAR(label.stddev, 0.527277894494 * std::sqrt(104.0 / 105), 1e-6);
  EXPECT_NEAR(label.histogram[2], 25 / 105.0, 1e-6);
}

TEST_F(Importers, Koniq10kPrefersTheLargePictures) {
  write("metadata/koniq10k_distributions_sets.csv", "image_name,c1,c2,c3,c4,c5,set\n1.jpg,0,0,1,0,0,test\n");
  pictures({"512x384/1.jpg", "1024x768/1.jpg"});
  EXPECT_EQ(list(source(Source::koniq10k)).at(0).file, (folder_.path() / "1024x768/1.jpg").native());
}

TEST_F(Importers, SpaqReadsItsExportedSheet) {
  for (const char* name : {"MOS and Image attribute scores.csv", "MOS_and_Image_attribute_scores.csv"}) {
    std::filesystem::remove_all(folder_ / "Annotations");
    write(fmt::format("Annotations/{}", name),
          "\xEF\xBB\xBFImage name,MOS,Brightness,Colorfulness,Contrast,Noisiness,Sharpness\r\n"
          "00001.jpg,34.67,55.33,45.73,45.2,36.87,28.73\r\n00002.jpg,100,55.33,45.73,45.2,36.87,28.73\r\n");
    pictures({"TestImage/00001.jpg", "TestImage/00002.jpg"});
    EXPECT_THAT(summary(source(Source::spaq)), ElementsAre("00001.jpg train", "00002.jpg train")) << name;
    EXPECT_NEAR(list(source(Source::spaq)).at(0).label->mean, 34.67, 1e-5);
  }
  EXPECT_EQ(bin_centres(source(Source::spaq)), (std::vector<float>{0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100}));
}

TEST_F(Importers, FlickrAesReadsNamesBehindABlank) {
  write("FLICKR-AES_image_score.txt", " farm1_1_2_b.jpg 0.2\n farm1_3_4_b.jpg 0.775\nwith a blank.jpg\t1\n");
  pictures({"40K/farm1_1_2_b.jpg", "40K/farm1_3_4_b.jpg", "40K/with a blank.jpg"});
  EXPECT_THAT(summary(source(Source::flickr_aes)),
              ElementsAre("farm1_1_2_b.jpg train", "farm1_3_4_b.jpg train", "with a blank.jpg train"));
  EXPECT_NEAR(list(source(Source::flickr_aes)).at(1).label->mean, 0.775, 1e-7);
}

const std::string kEvaVotes =
    "image_id=user_id=score=difficulty=visual=composition=quality=semantic=vote_time=1=2=3=4\n"
    "71=E136=6.0=2=3=3=3=3=10.5=0=1=0=0\n\"106\"=\"E138\"=\"10\"=2=3=3=3=3=7=0=1=0=0\n71=E144=7=2=3=3=3=3=5=0=1=0=0\n"
    "71=E145=7=2=3=3=3=3=5=0=1=0=0\n132=E145=0=2=3=3=3=3=5=0=1=0=0\n";

TEST_F(Importers, EvaCountsTheVotesOfEachPicture) {
  write("data/votes_filtered.csv", kEvaVotes);
  pictures({"images/EVA_together/71.jpg", "images/EVA_together/106.jpg", "images/EVA_together/5.jpg"});
  EXPECT_THAT(summary(source(Source::eva)),
              ElementsAre("71.jpg train", "106.jpg train", "132.jpg rated, but the picture is missing"));
  const Label label = *list(source(Source::eva)).at(0).label;
  EXPECT_THAT(label.histogram,
              Pointwise(FloatNear(1e-7F), {0.F, 0.F, 0.F, 0.F, 0.F, 0.F, 1 / 3.F, 2 / 3.F, 0.F, 0.F, 0.F}));
  EXPECT_NEAR(label.mean, 20 / 3.0, 1e-6);
}

TEST_F(Importers, EvaFindsPicturesInFoldersOfCategories) {
  write("votes_filtered.csv", kEvaVotes);
  pictures({"images/EVA_category/EVA_category/5/71.jpg", "images/EVA_category/EVA_category/3/132.jpg"});
  const std::vector<Entry> entries = list(source(Source::eva));
  ASSERT_EQ(entries.size(), 3U);
  EXPECT_EQ(entries[0].key, "71.jpg");
  EXPECT_EQ(entries[0].file, (folder_.path() / "images/EVA_category/EVA_category/5/71.jpg").native());
  EXPECT_EQ(entries[1].fault, "rated, but the picture is missing");
  EXPECT_EQ(entries[2].size, std::string("bytes of images/EVA_category/EVA_category/3/132.jpg").size());
}

TEST_F(Importers, CsvReadsAMeanAStddevAndASplit) {
  write("lists/photos.csv",
        "id,file,score,spread,part\n1,a.jpg,3,0.5,train\n2,\"sub/b, c.jpg\",5,,val\n3,d.jpg,,,test\n4,e.jpg,2,1,\n"
        "5,f.jpg,1,0,test\n");
  pictures({"lists/a.jpg", "lists/sub/b, c.jpg", "lists/d.jpg", "lists/e.jpg", "lists/f.jpg"});
  Source table = source(Source::csv, "lists/photos.csv");
  for (const double bin : {1, 2, 3, 4, 5}) table.add_bins(bin);
  table.set_score_stddev(0.75);
  table.mutable_columns()->set_path("file");
  table.mutable_columns()->set_mean("score");
  table.mutable_columns()->set_stddev("spread");
  table.mutable_columns()->set_split("part");
  EXPECT_THAT(summary(table), ElementsAre("a.jpg train", "sub/b, c.jpg validation", "d.jpg unlabelled",
                                          "e.jpg unlabelled", "f.jpg test"));
  const std::vector<Entry> entries = list(table);
  EXPECT_EQ(entries[0].label->histogram, label_from_mean(3, 0.5, {1, 2, 3, 4, 5}).histogram);
  EXPECT_EQ(entries[1].label->histogram, label_from_mean(5, 0.75, {1, 2, 3, 4, 5}).histogram);
  EXPECT_FALSE(entries[2].label.has_value());
  EXPECT_FALSE(entries[3].label.has_value());
  EXPECT_THAT(entries[4].label->histogram, ElementsAre(1, 0, 0, 0, 0));
}

TEST_F(Importers, CsvReadsCountsFromATableWithTabs) {
  write("photos.tsv", "path\tbad\tfair\tgood\na.jpg\t1\t0\t3\nb.jpg\t\t \t\n");
  pictures({"elsewhere/a.jpg"});
  Source table = source(Source::csv, "photos.tsv");
  for (const double bin : {-1, 0, 2}) table.add_bins(bin);
  for (const char* column : {"bad", "fair", "good"}) table.mutable_columns()->add_counts(column);
  table.set_images((folder_ / "elsewhere").native());
  const std::vector<Entry> entries = list(table);
  ASSERT_EQ(entries.size(), 2U);
  EXPECT_THAT(entries[0].label->histogram, ElementsAre(0.25F, 0, 0.75F));
  EXPECT_EQ(entries[0].label->mean, 1.25F);
  EXPECT_EQ(entries[0].file, (folder_.path() / "elsewhere/a.jpg").native());
  EXPECT_EQ(entries[1].split, Split::kUnlabelled);
  EXPECT_EQ(entries[1].fault, "listed, but the picture is missing");
}

TEST_F(Importers, CsvWithoutRatingsListsUnlabelledPictures) {
  write("photos.csv", "path;note\na.jpg;x,y\n");
  pictures({"a.jpg"});
  Source table = source(Source::csv, "photos.csv");
  table.mutable_columns()->set_delimiter(";");
  EXPECT_THAT(summary(table), ElementsAre("a.jpg unlabelled"));
  EXPECT_TRUE(bin_centres(table).empty());
}

TEST_F(Importers, TheKeyImagesComesBeforeTheLayout) {
  write("FLICKR-AES_image_score.txt", "a.jpg 0.5\n");
  pictures({"40K/a.jpg", "small/a.jpg"});
  Source flickr = source(Source::flickr_aes);
  flickr.set_images((folder_ / "small").native());
  EXPECT_EQ(list(flickr).at(0).file, (folder_.path() / "small/a.jpg").native());
}

TEST_F(Importers, BinsOfTheSourceComeBeforeThoseOfItsKind) {
  Source spaq = source(Source::spaq);
  for (const double bin : {0, 50, 100}) spaq.add_bins(bin);
  EXPECT_EQ(bin_centres(spaq), (std::vector<float>{0, 50, 100}));
  spaq.set_split(Source::unlabelled);
  EXPECT_TRUE(bin_centres(spaq).empty());
}

// Of counts: each bin's share goes to its two neighbours on the common scale.
TEST_F(Importers, CountsAreMappedToACommonScale) {
  write("table.csv", "path,low,middle,high\na.jpg,1,1,2\n");
  pictures({"a.jpg"});
  Source table = source(Source::csv, "table.csv");
  for (const char* column : {"low", "middle", "high"}) table.mutable_columns()->add_counts(column);
  for (const double bin : {1, 2, 3}) table.add_bins(bin);
  for (const double bin : {1, 2, 5, 10}) table.add_mapped_bins(bin);
  EXPECT_EQ(bin_centres(table), (std::vector<float>{1, 2, 5, 10}));
  // 1, 2, 3 become 1, 5.5, 10; 5.5 lies a tenth of the way from 5 to 10.
  const Entry mapped = list(table).at(0);
  EXPECT_THAT(mapped.label->histogram, ElementsAre(0.25F, 0, FloatNear(0.225F, 1e-6F), FloatNear(0.525F, 1e-6F)));
  EXPECT_NEAR(mapped.label->mean, 0.25 * 1 + 0.25 * 5.5 + 0.5 * 10, 1e-6);
  table.add_mapped_ends(2);
  table.add_mapped_ends(5);
  // 2, 3.5, 5
  EXPECT_THAT(list(table).at(0).label->histogram, ElementsAre(0, 0.375F, 0.625F, 0));
}

TEST_F(Importers, AMeanIsMappedToACommonScale) {
  write("FLICKR-AES_image_score.txt", "a.jpg 0.25\nb.jpg 0\nc.jpg 1\n");
  pictures({"40K/a.jpg", "40K/b.jpg", "40K/c.jpg"});
  Source flickr = source(Source::flickr_aes);
  const float own = list(flickr).at(0).label->stddev;
  for (int bin = 1; bin <= 10; ++bin) flickr.add_mapped_bins(bin);
  const std::vector<Entry> entries = list(flickr);
  EXPECT_NEAR(entries[0].label->mean, 3.25, 1e-6);  // 1 + 0.25 * 9
  double mean = 0;
  for (int bin = 0; bin < 10; ++bin) mean += (bin + 1) * double{entries[0].label->histogram[bin]};
  EXPECT_NEAR(mean, 3.25, 1e-5);
  EXPECT_NEAR(entries[0].label->stddev, own * 9, 0.35);
  EXPECT_EQ(entries[1].label->histogram[0], 1);
  EXPECT_EQ(entries[2].label->histogram[9], 1);
}

TEST_F(Importers, AnImpossibleMappingIsRefused) {
  const auto message = [&](const std::vector<double>& bins, const std::vector<double>& ends, Source::Kind kind) {
    Source mapped = source(kind);
    for (const double bin : bins) mapped.add_mapped_bins(bin);
    for (const double end : ends) mapped.add_mapped_ends(end);
    try {
      make_importer(mapped, folder_ / "scratch");
    } catch (const runtime::UsageError& error) {
      return std::string(error.what());
    }
    return std::string();
  };
  EXPECT_THAT(message({1, 5, 3}, {}, Source::ava), HasSubstr("mapped_bins must rise, but 3 follows 5"));
  EXPECT_THAT(message({1}, {}, Source::ava), HasSubstr("mapped_bins has one number"));
  EXPECT_THAT(message({}, {1, 5}, Source::ava), HasSubstr("mapped_ends without mapped_bins"));
  EXPECT_THAT(message({1, 5}, {1}, Source::ava), HasSubstr("mapped_ends has 1 numbers, expected two"));
  EXPECT_THAT(message({1, 5}, {4, 2}, Source::ava), HasSubstr("mapped_ends is [4, 2], expected two rising scores"));
  EXPECT_THAT(message({1, 5}, {0, 5}, Source::ava), HasSubstr("mapped_ends is [0, 5]"));
  EXPECT_THAT(message({1, 5}, {std::nan(""), 5}, Source::ava), HasSubstr("mapped_ends is [nan, 5]"));
  EXPECT_THAT(message({1, 5}, {}, Source::folder), HasSubstr("mapped_bins cannot be used: it has no ratings"));
  EXPECT_EQ(message({1, 5}, {2, 5}, Source::ava), "");
}

}  // namespace
}  // namespace cskd::shards
