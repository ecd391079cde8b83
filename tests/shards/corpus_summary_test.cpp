// What an image shard says of itself, what a corpus holds, and that every kind of damage is found. The figures are held
// against a count over the rows that were written.
#include "shards/corpus_summary.h"

#include <algorithm>
#include <cmath>
#include <fstream>
#include <limits>
#include <map>
#include <numeric>
#include <random>
#include <sstream>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "runtime/content_hash.h"
#include "runtime/crc32c.h"
#include "runtime/error.h"
#include "shards/hdf5_file.h"
#include "shards/image_shard_file.h"
#include "shards/image_shard_format.h"
#include "shards/image_shard_writer.h"
#include "tests/temporary_folder.h"

namespace cskd::shards {
namespace {

using testing::AllOf;
using testing::ElementsAre;
using testing::Field;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Optional;
using testing::SizeIs;

const std::vector<float> kCentres{1, 2, 3, 4, 5};

using Pictures = std::vector<std::vector<std::byte>>;

// A plan of rows whose "pictures" are random bytes; a shard never looks into them.
ShardPlan random_plan(std::mt19937& random, const std::string& file, std::uint32_t source, Split split, bool labelled,
                      std::size_t rows, Pictures& pictures, std::size_t most_bytes = 300) {
  ShardPlan plan{.file = file,
                 .source = source,
                 .split = split,
                 .bins = labelled ? static_cast<std::uint32_t>(kCentres.size()) : 0,
                 .source_name = source == 0 ? "first" : "second"};
  const auto draw = [&](std::size_t low, std::size_t high) {
    return std::uniform_int_distribution<std::size_t>(low, high)(random);
  };
  pictures.clear();
  for (std::size_t i = 0; i < rows; ++i) {
    std::vector<std::byte> bytes(draw(1, most_bytes));
    for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
    ShardRow row{.key = file + "/" + std::to_string(i) + ".jpg",
                 .size = bytes.size(),
                 .hash = runtime::content_hash(bytes),
                 .phash = random(),
                 .width = static_cast<std::uint16_t>(draw(1, 65'535)),
                 .height = static_cast<std::uint16_t>(draw(1, 400)),
                 .format = static_cast<std::uint8_t>(draw(1, 3)),
                 .orientation = static_cast<std::uint8_t>(draw(1, 8))};
    if (labelled) {
      std::vector<double> votes;
      for (std::size_t bin = 0; bin < kCentres.size(); ++bin) votes.push_back(static_cast<double>(draw(0, 9)));
      votes[i % votes.size()] += 1;
      row.label = label_from_counts(votes, kCentres);
    }
    plan.rows.push_back(row);
    pictures.push_back(std::move(bytes));
  }
  return plan;
}

// Four shards of two sources, the second with labels and withdrawn rows, in a folder of their own.
class Corpus : public testing::Test {
 protected:
  Corpus() {
    std::mt19937 random(7);
    manifest_.add_sources()->set_name("first");
    manifest_.add_sources()->set_name("second");
    manifest_.mutable_sources(1)->mutable_bin_centres()->Assign(kCentres.begin(), kCentres.end());
    add_shard(random_plan(random, "first-unlabelled-00000.h5", 0, Split::kUnlabelled, false, 40, pictures_));
    add_shard(random_plan(random, "first-unlabelled-00001.h5", 0, Split::kUnlabelled, false, 31, pictures_));
    add_shard(random_plan(random, "second-test-00000.h5", 1, Split::kTest, true, 8, pictures_));
    add_shard(random_plan(random, "second-train-00000.h5", 1, Split::kTrain, true, 25, pictures_));
    for (const std::uint32_t row : {0U, 7U, 24U}) manifest_.mutable_shards(3)->add_withdrawn(row);
  }

  void add_shard(ShardPlan plan) {
    *manifest_.add_shards() =
        write_image_shard(folder_.path(), plan, [this](std::size_t row, std::span<std::byte> target) {
          std::copy(pictures_[row].begin(), pictures_[row].end(), target.begin());
        });
    plans_.push_back(std::move(plan));
  }

  std::filesystem::path path(int shard) const { return folder_.path() / manifest_.shards(shard).file(); }

  ShardCheck check(int shard) const {
    const Manifest::Shard& entry = manifest_.shards(shard);
    return check_shard(path(shard), entry, manifest_.sources(static_cast<int>(entry.source())));
  }

  ShardCheck check_alone(int shard) const {
    const Manifest lone = lone_manifest(path(shard));
    return check_shard(path(shard), lone.shards(0), lone.sources(0));
  }

  // Replaces bytes of a file.
  void overwrite(int shard, std::uint64_t offset, const std::string& bytes) const {
    std::fstream file(path(shard), std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<std::streamoff>(offset));
    file << bytes;
    ASSERT_TRUE(file.flush());
  }
  template <typename Number>
  void overwrite_number(int shard, std::uint64_t offset, Number number) const {
    overwrite(shard, offset, std::string(reinterpret_cast<const char*>(&number), sizeof(number)));
  }

  // Where element `row` of a dataset lies whose elements have `size` bytes.
  static std::uint64_t place(std::uint64_t dataset, std::uint64_t size, std::uint64_t row) {
    return dataset + size * row;
  }

  const Manifest::Offsets& offsets(int shard) const { return manifest_.shards(shard).offsets(); }

  tests::TemporaryFolder folder_;
  Manifest manifest_;
  std::vector<ShardPlan> plans_;
  Pictures pictures_;
};

// Of the file and of no row.
auto of_file(const std::string& what) {
  return AllOf(Field("row", &ShardFault::row, std::nullopt), Field("what", &ShardFault::what, HasSubstr(what)));
}
auto of_row(std::uint64_t row, const std::string& key, const std::string& what) {
  return AllOf(Field("row", &ShardFault::row, Optional(row)), Field("key", &ShardFault::key, key),
               Field("what", &ShardFault::what, HasSubstr(what)));
}

std::uint16_t lower_median(std::vector<std::uint16_t> sides) {
  std::sort(sides.begin(), sides.end());
  return sides[(sides.size() - 1) / 2];
}

using CorpusSummaryTest = Corpus;

TEST_F(CorpusSummaryTest, CountsWhatWasWritten) {
  const CorpusSummary summary = summarise(folder_.path(), manifest_);
  EXPECT_THAT(summary.faults, IsEmpty());
  ASSERT_THAT(summary.groups, SizeIs(3));
  const std::vector<std::vector<int>> shards_of_group{{0, 1}, {3}, {2}};
  std::uint64_t samples = 0;
  std::uint64_t file_bytes = 0;
  for (std::size_t g = 0; g < 3; ++g) {
    GroupSummary counted;
    std::vector<std::uint16_t> widths, heights;
    std::vector<double> means;
    for (const int s : shards_of_group[g]) {
      const ShardPlan& plan = plans_[static_cast<std::size_t>(s)];
      const auto& withdrawn = manifest_.shards(s).withdrawn();
      file_bytes += std::filesystem::file_size(path(s));
      for (std::size_t row = 0; row < plan.rows.size(); ++row) {
        if (std::find(withdrawn.begin(), withdrawn.end(), row) != withdrawn.end()) {
          ++counted.withdrawn;
          continue;
        }
        ++counted.samples;
        counted.bytes += plan.rows[row].size;
        ++counted.formats[plan.rows[row].format];
        ++counted.orientations[plan.rows[row].orientation];
        widths.push_back(plan.rows[row].width);
        heights.push_back(plan.rows[row].height);
        if (plan.bins > 0) means.push_back(plan.rows[row].label.mean);
      }
    }
    const GroupSummary& group = summary.groups[g];
    const ShardPlan& plan = plans_[static_cast<std::size_t>(shards_of_group[g].front())];
    SCOPED_TRACE(plan.file);
    EXPECT_EQ(group.source, plan.source);
    EXPECT_EQ(group.split, plan.split);
    EXPECT_EQ(group.shards, shards_of_group[g].size());
    EXPECT_EQ(group.samples, counted.samples);
    EXPECT_EQ(group.withdrawn, counted.withdrawn);
    EXPECT_EQ(group.bytes, counted.bytes);
    EXPECT_EQ(group.formats, counted.formats);
    EXPECT_EQ(group.orientations, counted.orientations);
    EXPECT_EQ(group.bins, plan.bins);
    const auto [narrowest, widest] = std::minmax_element(widths.begin(), widths.end());
    const auto [lowest, highest] = std::minmax_element(heights.begin(), heights.end());
    EXPECT_EQ(group.width, (SideRange{*narrowest, lower_median(widths), *widest}));
    EXPECT_EQ(group.height, (SideRange{*lowest, lower_median(heights), *highest}));
    std::array<std::uint64_t, 10> bins{};
    double sum = 0;
    for (const double mean : means) {
      sum += mean;
      // Ten bins over 1..5, found by trying each edge.
      std::size_t bin = 0;
      while (bin < 9 && mean >= 1 + 0.4 * static_cast<double>(bin + 1)) ++bin;
      ++bins[bin];
    }
    EXPECT_EQ(group.scores.counts, bins);
    EXPECT_EQ(group.mean_score.has_value(), !means.empty());
    if (!means.empty()) {
      EXPECT_NEAR(*group.mean_score, sum / static_cast<double>(means.size()), 1e-9);
      EXPECT_EQ(group.scores.low, 1);
      EXPECT_EQ(group.scores.high, 5);
    }
    samples += counted.samples;
  }
  EXPECT_EQ(summary.shards, 4U);
  EXPECT_EQ(summary.samples, samples);
  EXPECT_EQ(summary.withdrawn, 3U);
  EXPECT_EQ(summary.file_bytes, file_bytes);
}

TEST_F(CorpusSummaryTest, AShardAloneIsSummarisedOverTheRangeOfItsScores) {
  const CorpusSummary summary = summarise(folder_.path(), lone_manifest(path(2)));
  ASSERT_THAT(summary.groups, SizeIs(1));
  std::vector<float> means;
  for (const ShardRow& row : plans_[2].rows) means.push_back(row.label.mean);
  const auto [low, high] = std::minmax_element(means.begin(), means.end());
  EXPECT_EQ(summary.groups[0].split, Split::kTest);
  EXPECT_EQ(summary.groups[0].scores.low, *low);
  EXPECT_EQ(summary.groups[0].scores.high, *high);
  EXPECT_GE(summary.groups[0].scores.counts.front(), 1U);
  EXPECT_GE(summary.groups[0].scores.counts.back(), 1U);
}

TEST_F(CorpusSummaryTest, ListsWhatCannotBeReadAndSummarisesTheOthers) {
  std::filesystem::remove(path(0));
  std::filesystem::resize_file(path(3), std::filesystem::file_size(path(3)) - 1);
  overwrite_number(2, offsets(2).offset() + 8, std::uint64_t{1} << 40);
  const CorpusSummary summary = summarise(folder_.path(), manifest_);
  EXPECT_THAT(summary.faults, ElementsAre(of_file("not there"), of_file("does not rise"), of_file("cut off")));
  EXPECT_EQ(summary.faults[0].file, "first-unlabelled-00000.h5");
  EXPECT_EQ(summary.shards, 1U);
  ASSERT_THAT(summary.groups, SizeIs(1));
  EXPECT_EQ(summary.groups[0].samples, 31U);
}

TEST_F(CorpusSummaryTest, AScoreThatIsNoNumberIsLeftOut) {
  overwrite_number(3, offsets(3).label_mean() + 4, std::numeric_limits<float>::quiet_NaN());
  const CorpusSummary summary = summarise(folder_.path(), manifest_);
  EXPECT_THAT(summary.faults, ElementsAre(of_file("1 mean scores are no numbers")));
  const GroupSummary& group = summary.groups[1];
  EXPECT_EQ(std::accumulate(group.scores.counts.begin(), group.scores.counts.end(), std::uint64_t{0}),
            group.samples - 1);
  EXPECT_TRUE(std::isfinite(group.mean_score.value()));
}

TEST_F(CorpusSummaryTest, TextFitsATerminalAndCannotSteerIt) {
  manifest_.mutable_sources(0)->set_name(std::string(60, 'c'));
  manifest_.mutable_sources(1)->set_name("a\x1b[2Jb");
  Manifest::Setting& setting = *manifest_.mutable_sources(1)->add_settings();
  setting.set_key("columns.counts");
  setting.set_value("long\n" + std::string(200, 'v'));
  const std::string text = to_text(summarise(folder_.path(), manifest_), manifest_);
  EXPECT_THAT(text, HasSubstr("scores of a?[2Jb, train"));
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) EXPECT_LE(line.size(), 100U) << line;
}

TEST(Printable, ShowsTheEndOfLongTextsAndNoControlCharacters) {
  EXPECT_EQ(printable("Berlin/\xC3\xA9t\xC3\xA9.jpg", 40), "Berlin/\xC3\xA9t\xC3\xA9.jpg");
  EXPECT_EQ(printable("a\tb\x7F\xC2\x9B"
                      "2J\xC2\xA0",
                      40),
            "a?b??2J\xC2\xA0");
  EXPECT_EQ(printable("0123456789", 10), "0123456789");
  EXPECT_EQ(printable("0123456789a", 10), "..3456789a");
  EXPECT_EQ(printable("0\xC3\xA9"
                      "3456789a",
                      10),
            "..3456789a");
  EXPECT_EQ(printable("0\xC3\xA9"
                      "3456789",
                      9),
            "..3456789");
  EXPECT_EQ(printable("\xC2", 9), "\xC2");
}

using ShardEntryTest = Corpus;

TEST_F(ShardEntryTest, IsThatOfTheManifestButForWhatOnlyAManifestKnows) {
  for (int shard = 0; shard < manifest_.shards_size(); ++shard) {
    const ShardEntry entry = read_shard_entry(path(shard));
    Manifest::Shard expected = manifest_.shards(shard);
    expected.clear_file_hash();
    expected.clear_withdrawn();
    EXPECT_EQ(entry.shard.SerializeAsString(), expected.SerializeAsString());
    EXPECT_EQ(entry.source_name, manifest_.sources(static_cast<int>(expected.source())).name());
  }
}

TEST_F(ShardEntryTest, OtherFilesAreRefusedWithTheirReason) {
  const auto refused = [](const std::filesystem::path& file, const std::string& what) {
    try {
      read_shard_entry(file);
      ADD_FAILURE() << file << " was read";
    } catch (const runtime::DataError& error) {
      EXPECT_THAT(error.what(), AllOf(HasSubstr(file.native()), HasSubstr(what)));
    }
  };
  std::ofstream(folder_ / "text.h5") << "no HDF5 at all";
  refused(folder_ / "text.h5", "does not open as HDF5");
  {
    Hdf5Writer file(folder_ / "cache.h5");
    file.set_attribute("format", "cskd-feature-cache");
    file.close();
  }
  refused(folder_ / "cache.h5", "'cskd-feature-cache'");
  {
    Hdf5Writer file(folder_ / "old.h5");
    file.set_attribute("format", kImageShardFormat);
    file.set_attribute("version", std::uint64_t{1});
    file.close();
  }
  refused(folder_ / "old.h5", "version 1");
  std::filesystem::resize_file(path(0), std::filesystem::file_size(path(0)) / 2);
  refused(path(0), "cut off");
}

// A shard of two labelled samples, one of whose datasets has another shape.
std::filesystem::path misshapen(const std::filesystem::path& path, const std::string& dataset,
                                const std::vector<std::uint64_t>& shape) {
  using enum ElementType;
  std::map<std::string, std::pair<ElementType, std::vector<std::uint64_t>>> datasets{
      {"bytes", {kU8, {10}}},
      {"offset", {kU64, {3}}},
      {"hash", {kU8, {2, 16}}},
      {"crc32c", {kU32, {2}}},
      {"pixel_hash", {kU8, {2, 16}}},
      {"phash", {kU64, {2}}},
      {"thumbnail", {kU8, {2, 8, 8, 3}}},
      {"size", {kU16, {2, 2}}},
      {"format", {kU8, {2}}},
      {"orientation", {kU8, {2}}},
      {"split", {kU8, {2}}},
      {"source", {kU32, {2}}},
      {"key_bytes", {kU8, {4}}},
      {"key_offset", {kU64, {3}}},
      {"label/mean", {kF32, {2}}},
      {"label/std", {kF32, {2}}},
      {"label/histogram", {kF32, {2, 5}}}};
  if (!dataset.empty()) datasets.at(dataset).second = shape;
  Hdf5Writer file(path);
  file.set_attribute("format", kImageShardFormat);
  file.set_attribute("version", std::uint64_t{kImageShardVersion});
  file.set_attribute("source", "s");
  file.set_attribute("split", "train");
  file.set_attribute("plan", std::string(32, 'a'));
  for (const auto& [name, stored] : datasets) {
    if (!stored.second.empty()) file.create(name, stored.first, stored.second);
  }
  file.close();
  return path;
}

TEST_F(ShardEntryTest, ShapesThatDisagreeAreRefused) {
  EXPECT_NO_THROW(read_shard_entry(misshapen(folder_ / "fine.h5", "", {})));
  const std::vector<std::pair<std::string, std::vector<std::uint64_t>>> wrong{{"offset", {1}},
                                                                              {"offset", {4}},
                                                                              {"offset", {3, 1}},
                                                                              {"offset", {20'000}},
                                                                              {"hash", {2, 15}},
                                                                              {"crc32c", {3}},
                                                                              {"pixel_hash", {1, 16}},
                                                                              {"phash", {1}},
                                                                              {"thumbnail", {2, 8, 8}},
                                                                              {"size", {2, 1}},
                                                                              {"size", {2}},
                                                                              {"format", {1}},
                                                                              {"orientation", {3}},
                                                                              {"split", {1}},
                                                                              {"source", {5}},
                                                                              {"key_bytes", {40'000}},
                                                                              {"key_offset", {2}},
                                                                              {"label/mean", {1}},
                                                                              {"label/std", {3}},
                                                                              {"label/histogram", {3, 5}},
                                                                              {"label/histogram", {10}},
                                                                              {"label/histogram", {2, 2000}},
                                                                              {"bytes", {5, 2}}};
  for (const auto& [dataset, shape] : wrong) {
    SCOPED_TRACE(dataset + testing::PrintToString(shape));
    EXPECT_THROW(read_shard_entry(misshapen(folder_ / "wrong.h5", dataset, shape)), runtime::DataError);
    if (dataset == "offset" || dataset == "label/histogram") continue;
    try {
      read_shard_entry(misshapen(folder_ / "missing.h5", dataset, {}));
      ADD_FAILURE() << "a shard without /" << dataset << " was read";
    } catch (const runtime::DataError& error) {
      EXPECT_THAT(error.what(), HasSubstr("no contiguous dataset /" + dataset));
    }
  }
}

// Damaged bytes may be refused or go unnoticed here (their checksums come later), but nothing else may happen.
TEST_F(ShardEntryTest, RandomDamageIsSurvived) {
  std::mt19937 random(11);
  const std::string whole = tests::read_file(path(2));
  for (int round = 0; round < 400; ++round) {
    std::string damaged = whole;
    for (int flips = 0; flips < 3; ++flips) {
      // Half of them in what HDF5 says of the file, which lies at its beginning and its end.
      const std::size_t place = random() % damaged.size();
      damaged[round % 2 == 0 ? place : place % 1200] = static_cast<char>(random());
    }
    std::ofstream(path(2), std::ios::binary) << damaged;
    try {
      check_alone(2);
    } catch (const runtime::Error&) {
    }
    EXPECT_GE(check(2).fault_count, damaged == whole ? 0U : 1U);
  }
}

using ShardCheckTest = Corpus;

TEST_F(ShardCheckTest, AWholeShardHasNoFaults) {
  for (int shard = 0; shard < manifest_.shards_size(); ++shard) {
    for (const ShardCheck& result : {check(shard), check_alone(shard)}) {
      EXPECT_THAT(result.faults, IsEmpty());
      EXPECT_EQ(result.fault_count, 0U);
      EXPECT_EQ(result.pictures, manifest_.shards(shard).samples());
      EXPECT_EQ(result.bytes, std::filesystem::file_size(path(shard)));
    }
  }
}

TEST_F(ShardCheckTest, PicturesThatSpanBlocksOfReadingAreChecked) {
  std::mt19937 random(5);
  ShardPlan plan = random_plan(random, "large.h5", 0, Split::kUnlabelled, false, 5, pictures_, 9 << 20);
  add_shard(plan);
  ASSERT_GT(manifest_.shards(4).total_bytes(), 16U << 20);
  EXPECT_EQ(check(4).pictures, 5U);
  EXPECT_THAT(check(4).faults, IsEmpty());
  std::uint64_t begin = offsets(4).bytes();
  for (std::uint64_t row = 0; row < 5; ++row) {
    const std::uint64_t size = plan.rows[row].size;
    for (const std::uint64_t place : {begin, begin + size / 2, begin + size - 1}) {
      const std::string before = tests::read_file(path(4)).substr(place, 1);
      overwrite(4, place, std::string(1, static_cast<char>(before[0] ^ 0x10)));
      EXPECT_THAT(check(4).faults, ElementsAre(of_file("XXH3-128"), of_row(row, plan.rows[row].key, "CRC-32C")));
      EXPECT_THAT(check_alone(4).faults, ElementsAre(of_row(row, plan.rows[row].key, "CRC-32C")));
      overwrite(4, place, before);
    }
    begin += size;
  }
}

TEST_F(ShardCheckTest, AHashThatIsNotThePicturesIsFound) {
  overwrite_number(0, place(offsets(0).hash(), 16, 3), std::uint64_t{1});
  EXPECT_THAT(check_alone(0).faults, ElementsAre(of_row(3, plans_[0].rows[3].key, "/hash says 0100000000000000")));
}

TEST_F(ShardCheckTest, AMissingACutOffAndAnotherFileAreFound) {
  std::filesystem::copy_file(path(1), folder_ / "kept.h5");
  std::filesystem::remove(path(1));
  EXPECT_THAT(check(1).faults, ElementsAre(of_file("it is not there")));
  std::filesystem::create_directory(path(1));
  EXPECT_THAT(check(1).faults, ElementsAre(of_file("not a regular file")));
  std::filesystem::remove(path(1));
  std::filesystem::copy_file(folder_ / "kept.h5", path(1));
  std::filesystem::resize_file(path(1), std::filesystem::file_size(path(1)) - 1);
  EXPECT_THAT(check(1).faults, ElementsAre(of_file("it was cut off or replaced")));
  // Every picture of it is whole, but it is not the file of the manifest.
  std::filesystem::remove(path(1));
  std::filesystem::copy_file(folder_ / "kept.h5", path(1));
  manifest_.mutable_shards(1)->set_file_hash(std::string(16, 'x'));
  manifest_.mutable_shards(1)->set_plan(std::string(16, 'y'));
  EXPECT_THAT(check(1).faults, ElementsAre(of_file("XXH3-128"), of_file("another plan")));
}

TEST_F(ShardCheckTest, AManifestThatSaysOtherThingsIsFound) {
  manifest_.mutable_shards(3)->mutable_offsets()->set_phash(offsets(3).phash() + 8);
  manifest_.mutable_sources(1)->set_name("renamed");
  EXPECT_THAT(check(3).faults, ElementsAre(of_file("its source is second, the manifest says renamed"),
                                           of_file("/phash has 200 bytes from byte")));
}

TEST_F(ShardCheckTest, OffsetsThatDoNotRiseAreFound) {
  overwrite_number(0, offsets(0).offset() + 8, std::uint64_t{1} << 60);
  overwrite_number(0, offsets(0).key_offset() + 8, std::uint64_t{0} - 1);
  EXPECT_THAT(check_alone(0).faults, ElementsAre(of_file("/key_offset"), of_file("/offset")));
  EXPECT_EQ(check_alone(0).pictures, 0U);
}

TEST_F(ShardCheckTest, ColumnsThatHoldWhatTheyMayNotAreFound) {
  overwrite_number(3, place(offsets(3).size(), 4, 1), std::uint16_t{0});
  overwrite_number(3, offsets(3).format() + 2, std::uint8_t{4});
  overwrite_number(3, offsets(3).orientation() + 3, std::uint8_t{9});
  overwrite_number(3, offsets(3).split() + 4, std::uint8_t{3});
  overwrite_number(3, place(offsets(3).source(), 4, 5), std::uint32_t{77});
  const auto key = [this](std::size_t row) { return plans_[3].rows[row].key; };
  const auto expected = ElementsAre(
      of_row(1, key(1), "/size is 0 x"), of_row(2, key(2), "/format is 4"), of_row(3, key(3), "/orientation is 9"),
      of_row(4, key(4), "/split is 3, its shard's is 1"), of_row(5, key(5), "/source is 77, its shard's is 1"));
  EXPECT_THAT(check_alone(3).faults, expected);
  EXPECT_EQ(check(3).fault_count, 6U);  // and the hash of the file
}

TEST_F(ShardCheckTest, AKeyThatComesTwiceIsFound) {
  const std::string& key = plans_[0].rows[2].key;
  ASSERT_EQ(key.size(), plans_[0].rows[9].key.size());
  overwrite(0, offsets(0).key_bytes() + 9 * key.size(), key);
  EXPECT_THAT(check_alone(0).faults, ElementsAre(of_row(9, key, "row 2 has the same key")));
}

TEST_F(ShardCheckTest, LabelsThatAreNoDistributionsAreFound) {
  const auto share = [this](std::uint64_t row, std::uint64_t bin) {
    return offsets(3).label_histogram() + 4 * (row * kCentres.size() + bin);
  };
  const auto stored = [this](std::size_t row) { return plans_[3].rows[row].label; };
  overwrite_number(3, share(4, 0), stored(4).histogram[0] + 0.001F);
  overwrite_number(3, share(5, 0), -0.25F);
  overwrite_number(3, share(6, 0), std::numeric_limits<float>::quiet_NaN());
  overwrite_number(3, place(offsets(3).label_mean(), 4, 8), stored(8).mean + 0.01F);
  overwrite_number(3, place(offsets(3).label_std(), 4, 9), -1.0F);
  overwrite_number(3, place(offsets(3).label_mean(), 4, 10), std::numeric_limits<float>::infinity());
  const auto key = [this](std::size_t row) { return plans_[3].rows[row].key; };
  EXPECT_THAT(check(3).faults,
              ElementsAre(of_file("XXH3-128"), of_row(4, key(4), "sums to 1.001"), of_row(5, key(5), "no share"),
                          of_row(6, key(6), "no share"), of_row(8, key(8), "that of its histogram"),
                          of_row(9, key(9), "/label/std -1"), of_row(10, key(10), "/label/mean is inf")));
  // A shard alone does not know the scores of its bins.
  EXPECT_EQ(check_alone(3).fault_count, 5U);
}

TEST_F(ShardCheckTest, SharesOfManyDecimalsAreDistributions) {
  // 1/3 + 1/3 + 1/3 in single precision, and a mean within the tolerance.
  const float third = 1.0F / 3;
  for (std::uint64_t bin = 0; bin < 5; ++bin) {
    overwrite_number(3, offsets(3).label_histogram() + 4 * bin, bin < 3 ? third : 0.0F);
  }
  overwrite_number(3, offsets(3).label_mean(), 2.00001F);
  EXPECT_THAT(check(3).faults, ElementsAre(of_file("XXH3-128")));
}

TEST_F(ShardCheckTest, ManyFaultsAreCounted) {
  overwrite(0, offsets(0).format(), std::string(40, '\x09'));
  const ShardCheck result = check(0);
  EXPECT_EQ(result.fault_count, 41U);
  ASSERT_THAT(result.faults, SizeIs(kMostFaultsListed));
  EXPECT_THAT(result.faults.front(), of_file("XXH3-128"));
  EXPECT_THAT(result.faults.back(), of_row(18, plans_[0].rows[18].key, "/format is 9"));
}

TEST_F(ShardCheckTest, EveryByteOfTheFileCounts) {
  const std::string whole = tests::read_file(path(2));
  std::mt19937 random(3);
  for (int round = 0; round < 200; ++round) {
    const std::size_t place = random() % whole.size();
    std::string damaged = whole;
    damaged[place] = static_cast<char>(damaged[place] ^ (1 << (random() % 8)));
    std::ofstream(path(2), std::ios::binary) << damaged;
    EXPECT_GE(check(2).fault_count, 1U) << "byte " << place;
  }
}

}  // namespace
}  // namespace cskd::shards
