#include "shards/importers/source_check.h"

#include <set>

#include <fmt/format.h>

#include "runtime/error.h"
#include "shards/importers/csv_columns.h"
#include "shards/importers/rating_scale.h"

namespace cskd::shards {
namespace {

using config::Source;

void require(bool is_met, const Source& source, const std::string& otherwise) {
  if (!is_met) throw runtime::UsageError(fmt::format("source '{}': {}", source.name(), otherwise));
}

void check_split(const Source& source) {
  const std::string& rule = Source::SplitRule_Name(source.split());
  require(source.test_share() == 0 || source.split() == Source::random, source,
          fmt::format("test_share needs split = \"random\", not \"{}\"", rule));
  require(source.validation_share() == 0 || source.split() == Source::random || source.split() == Source::official,
          source, fmt::format("validation_share needs split = \"official\" or \"random\", not \"{}\"", rule));
  require(source.validation_share() + source.test_share() <= 1, source,
          fmt::format("validation_share and test_share are {} together, at most 1 is possible",
                      source.validation_share() + source.test_share()));
}

void check_without_ratings(const Source& source) {
  const std::string kind = Source::Kind_Name(source.kind());
  const std::string reason = source.kind() == Source::csv
                                 ? "without columns.mean or columns.counts its pictures have no ratings"
                                 : fmt::format("pictures of kind \"{}\" have no ratings", kind);
  const auto is_unused = [&](bool is_given, const char* key) {
    require(!is_given, source, fmt::format("{} cannot be used: {}", key, reason));
  };
  is_unused(source.split() != Source::official && source.split() != Source::unlabelled, "split");
  is_unused(source.validation_share() != 0, "validation_share");
  is_unused(source.bins_size() != 0, "bins");
  is_unused(source.score_stddev() != 0, "score_stddev");
  is_unused(!source.columns().stddev().empty(), "columns.stddev");
  is_unused(!source.columns().split().empty(), "columns.split");
}

void check_columns(const Source& source) {
  const config::CsvColumns& columns = source.columns();
  if (source.kind() != Source::csv) {
    const bool is_default = path_column_of(source) == kDefaultPathColumn && columns.mean().empty() &&
                            columns.stddev().empty() && columns.counts().empty() && columns.split().empty() &&
                            columns.delimiter().empty();
    require(is_default, source,
            fmt::format("columns is for kind \"csv\", not \"{}\"", Source::Kind_Name(source.kind())));
    return;
  }
  delimiter_of(source);
  require(columns.mean().empty() || columns.counts().empty(), source,
          "columns.mean and columns.counts exclude each other: the mean follows from the counts");
  require(columns.stddev().empty() || columns.counts().empty(), source,
          "columns.stddev and columns.counts exclude each other: the stddev follows from the counts");
  const std::set<std::string> names(columns.counts().begin(), columns.counts().end());
  require(names.size() == static_cast<size_t>(columns.counts_size()) && !names.contains(""), source,
          "columns.counts has an empty name, or one twice");
}

}  // namespace

void check_source(const Source& source) {
  check_split(source);
  check_columns(source);
  const Ratings ratings = ratings_of(source);
  if (ratings == Ratings::kNone) check_without_ratings(source);
  require(ratings != Ratings::kCounts || source.score_stddev() == 0, source,
          "score_stddev cannot be used: the stddev follows from the counts");
  require(
      source.images().empty() || (source.kind() != Source::folder && source.kind() != Source::webdataset), source,
      fmt::format("images cannot be used: kind \"{}\" takes its pictures from path", Source::Kind_Name(source.kind())));
  rating_scale(source);
}

}  // namespace cskd::shards
