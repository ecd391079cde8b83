// What a corpus holds, against a count over the rows that were written.
#include "inspect/corpus_summary.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <sstream>
#include <string>
#include <vector>

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/random_corpus.h"

namespace cskd::shards {
namespace {

using inspect::CorpusSummary;
using inspect::GroupSummary;
using inspect::printable;
using inspect::SideRange;
using inspect::summarise;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

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
  EXPECT_THAT(summary.faults, ElementsAre(of_file("missing"), of_file("does not rise"), of_file("cut off")));
  EXPECT_EQ(summary.faults[0].file, "first-unlabelled-00000.h5");
  EXPECT_EQ(summary.shards, 1U);
  ASSERT_THAT(summary.groups, SizeIs(1));
  EXPECT_EQ(summary.groups[0].samples, 31U);
}

TEST_F(CorpusSummaryTest, AScoreThatIsNoNumberIsLeftOut) {
  overwrite_number(3, offsets(3).label_mean() + 4, std::numeric_limits<float>::quiet_NaN());
  const CorpusSummary summary = summarise(folder_.path(), manifest_);
  EXPECT_THAT(summary.faults, ElementsAre(of_file("1 mean scores are not numbers")));
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
  const std::string text = inspect::to_text(summarise(folder_.path(), manifest_), manifest_);
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

}  // namespace
}  // namespace cskd::shards
