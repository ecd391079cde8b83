// Keys of a source that contradict each other, with the exact message a user gets.
#include <cmath>

#include <gtest/gtest.h>

#include "runtime/error.h"
#include "shards/importers/importer.h"

namespace cskd::shards {
namespace {

using config::Source;

struct BadSource {
  const char* name;
  Source::Kind kind;
  void (*change)(Source&);
  const char* message;
};

void PrintTo(const BadSource& source, std::ostream* out) { *out << source.name; }

class BadSources : public testing::TestWithParam<BadSource> {};

TEST_P(BadSources, AreRefusedWithTheirNameAndKeys) {
  Source source;
  source.set_name("photos");
  source.set_path("/nowhere");
  source.set_kind(GetParam().kind);
  GetParam().change(source);
  try {
    make_importer(source, "");
    FAIL() << "was accepted";
  } catch (const runtime::UsageError& error) {
    EXPECT_EQ(error.what(), std::string("source 'photos': ") + GetParam().message);
  }
}

void add_bins(Source& source, std::initializer_list<double> bins) {
  source.mutable_bins()->Add(bins.begin(), bins.end());
}

const BadSource kBadSources[] = {
    {"TestShareOfficial", Source::ava, [](Source& s) { s.set_test_share(0.1); },
     "test_share needs split = \"random\", not \"official\""},
    {"TestShareTrain", Source::ava,
     [](Source& s) {
       s.set_split(Source::train);
       s.set_test_share(0.1);
     },
     "test_share needs split = \"random\", not \"train\""},
    {"ValidationShareTest", Source::ava,
     [](Source& s) {
       s.set_split(Source::test);
       s.set_validation_share(0.1);
     },
     "validation_share needs split = \"official\" or \"random\", not \"test\""},
    {"ValidationShareUnlabelled", Source::folder,
     [](Source& s) {
       s.set_split(Source::unlabelled);
       s.set_validation_share(0.1);
     },
     "validation_share needs split = \"official\" or \"random\", not \"unlabelled\""},
    {"SharesAboveOne", Source::ava,
     [](Source& s) {
       s.set_split(Source::random);
       s.set_validation_share(0.75);
       s.set_test_share(0.5);
     },
     "validation_share and test_share are 1.25 together, at most 1 is possible"},
    {"SplitOfAFolder", Source::folder, [](Source& s) { s.set_split(Source::train); },
     "split cannot be used: pictures of kind \"folder\" have no ratings"},
    {"SharesOfAFolder", Source::folder, [](Source& s) { s.set_validation_share(0.1); },
     "validation_share cannot be used: pictures of kind \"folder\" have no ratings"},
    {"BinsOfAWebdataset", Source::webdataset,
     [](Source& s) {
       add_bins(s, {1, 2});
     },
     "bins cannot be used: without columns.mean or columns.counts its pictures have no ratings"},
    {"StddevOfAFolder", Source::folder, [](Source& s) { s.set_score_stddev(1); },
     "score_stddev cannot be used: pictures of kind \"folder\" have no ratings"},
    {"ImagesOfAFolder", Source::folder, [](Source& s) { s.set_images("/elsewhere"); },
     "images cannot be used: kind \"folder\" takes its pictures from path"},
    {"SplitOfATableWithoutRatings", Source::csv, [](Source& s) { s.set_split(Source::random); },
     "split cannot be used: without columns.mean or columns.counts its pictures have no ratings"},
    {"SplitColumnWithoutRatings", Source::csv, [](Source& s) { s.mutable_columns()->set_split("part"); },
     "columns.split cannot be used: without columns.mean or columns.counts its pictures have no ratings"},
    {"StddevColumnWithoutRatings", Source::csv, [](Source& s) { s.mutable_columns()->set_stddev("std"); },
     "columns.stddev cannot be used: without columns.mean or columns.counts its pictures have no ratings"},
    {"ColumnsOfAnotherKind", Source::spaq, [](Source& s) { s.mutable_columns()->set_path("file"); },
     "columns and absolute_paths are for a table or an archive, not for kind \"spaq\""},
    {"DelimiterOfAnotherKind", Source::folder, [](Source& s) { s.mutable_columns()->set_delimiter(";"); },
     "columns and absolute_paths are for a table or an archive, not for kind \"folder\""},
    {"AbsolutePathsOfAnArchive", Source::webdataset, [](Source& s) { s.set_absolute_paths(true); },
     "columns.path, columns.delimiter and absolute_paths are for kind \"csv\", not \"webdataset\""},
    {"PointerThatIsNone", Source::webdataset,
     [](Source& s) {
       s.mutable_columns()->set_mean("/a~2");
       add_bins(s, {1, 2});
     },
     "columns.mean is \"/a~2\", which is not a JSON pointer (RFC 6901)"},
    {"ExtensionThatIsNone", Source::webdataset,
     [](Source& s) {
       s.mutable_columns()->set_mean(".a.b");
       add_bins(s, {1, 2});
     },
     "columns.mean is \".a.b\", expected a field or an extension like \".cls\""},
    {"ArchiveWithoutBins", Source::webdataset, [](Source& s) { s.mutable_columns()->set_mean("score"); },
     "bins is missing: the scores of a webdataset source may be on any scale, so it must be given"},
    {"LongDelimiter", Source::csv, [](Source& s) { s.mutable_columns()->set_delimiter("||"); },
     "columns.delimiter is \"||\", expected one ASCII character other than a quote, or \"tab\""},
    {"QuoteAsDelimiter", Source::csv, [](Source& s) { s.mutable_columns()->set_delimiter("\""); },
     "columns.delimiter is \"\"\", expected one ASCII character other than a quote, or \"tab\""},
    {"OneBin", Source::aadb, [](Source& s) { add_bins(s, {1}); }, "bins has one number, expected at least two"},
    {"FallingBins", Source::aadb,
     [](Source& s) {
       add_bins(s, {1, 3, 2});
     },
     "bins must rise, but 2 follows 3"},
    {"BinsEqualInSinglePrecision", Source::aadb,
     [](Source& s) {
       add_bins(s, {1, 1.00000001});
     },
     "bins must rise, but 1.00000001 follows 1"},
    {"InfiniteBin", Source::aadb,
     [](Source& s) {
       add_bins(s, {1, INFINITY});
     },
     "bins has inf, expected finite numbers"},
    {"BinBeyondSinglePrecision", Source::aadb,
     [](Source& s) {
       add_bins(s, {1, 1e300});
     },
     "bins has 1e+300, expected finite numbers"},
    {"BinsForAnotherNumberOfCounts", Source::ava,
     [](Source& s) {
       add_bins(s, {1, 2, 3});
     },
     "bins has 3 numbers, expected 10, one for each count of kind ava"},
    {"BinsForAnotherNumberOfCountColumns", Source::csv,
     [](Source& s) {
       add_bins(s, {1, 2, 3});
       for (const char* column : {"a", "b"}) s.mutable_columns()->add_counts(column);
     },
     "bins has 3 numbers, expected 2, one for each count of kind csv"},
    {"CountsTwice", Source::csv,
     [](Source& s) {
       add_bins(s, {1, 2});
       for (const char* column : {"a", "a"}) s.mutable_columns()->add_counts(column);
     },
     "columns.counts has an empty name, or one twice"},
    {"MeanAndCounts", Source::csv,
     [](Source& s) {
       s.mutable_columns()->set_mean("mean");
       s.mutable_columns()->add_counts("c1");
     },
     "columns.mean and columns.counts exclude each other: the mean follows from the counts"},
    {"StddevAndCounts", Source::csv,
     [](Source& s) {
       s.mutable_columns()->set_stddev("std");
       s.mutable_columns()->add_counts("c1");
     },
     "columns.stddev and columns.counts exclude each other: the stddev follows from the counts"},
    {"NoBinsForATable", Source::csv, [](Source& s) { s.mutable_columns()->set_mean("mean"); },
     "bins is missing: the scores of a csv source may be on any scale, so it must be given"},
    {"StddevOfCounts", Source::para, [](Source& s) { s.set_score_stddev(0.5); },
     "score_stddev cannot be used: the stddev follows from the counts"},
    {"StddevWiderThanTheScale", Source::flickr_aes, [](Source& s) { s.set_score_stddev(20); },
     "score_stddev is 20, but its bins reach only from 0 to 1"},
};

INSTANTIATE_TEST_SUITE_P(All, BadSources, testing::ValuesIn(kBadSources),
                         [](const auto& source) { return std::string(source.param.name); });

}  // namespace
}  // namespace cskd::shards
