#include "shards/importers/source_check.h"

#include <set>

#include <fmt/format.h>

#include "runtime/error.h"
#include "shards/importers/csv_columns.h"
#include "shards/importers/rating_scale.h"
#include "shards/importers/scale_mapping.h"
#include "shards/importers/sidecar_ratings.h"

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
  const std::string reason = source.kind() == Source::csv || source.kind() == Source::webdataset
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
  const bool is_table = source.kind() == Source::csv;
  const bool names_table =
      path_column_of(source) != kDefaultPathColumn || !columns.delimiter().empty() || source.absolute_paths();
  const bool names_labels =
      !columns.mean().empty() || !columns.stddev().empty() || columns.counts_size() > 0 || !columns.split().empty();
  if (!is_table && source.kind() != Source::webdataset) {
    require(!names_table && !names_labels, source,
            fmt::format("columns and absolute_paths are for a table or an archive, not for kind \"{}\"",
                        Source::Kind_Name(source.kind())));
    return;
  }
  require(is_table || !names_table, source,
          "columns.path, columns.delimiter and absolute_paths are for kind \"csv\", not \"webdataset\"");
  delimiter_of(source);
  require(columns.mean().empty() || columns.counts().empty(), source,
          "columns.mean and columns.counts exclude each other: the mean follows from the counts");
  require(columns.stddev().empty() || columns.counts().empty(), source,
          "columns.stddev and columns.counts exclude each other: the stddev follows from the counts");
  const std::set<std::string> names(columns.counts().begin(), columns.counts().end());
  require(names.size() == static_cast<size_t>(columns.counts_size()) && !names.contains(""), source,
          "columns.counts has an empty name, or one twice");
  if (is_table) return;
  try {
    const SidecarFields fields(columns);
  } catch (const runtime::DataError& error) {
    require(false, source, error.what());
  }
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
  ScaleMapping::of(source);
}

}  // namespace cskd::shards
