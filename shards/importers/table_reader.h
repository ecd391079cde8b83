// A table as text: CSV and its like, after RFC 4180, and no laxer.
#pragma once

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "shards/importers/line_reader.h"

namespace cskd::shards {

// The first line names the columns, every other one is a row; empty lines are passed over, and so is a "sep=;" in
// front. A field in quotes may hold delimiters, line ends and doubled quotes. Nothing is trimmed. Memory is that of one
// row.
class TableReader {
 public:
  // Between columns: `delimiter`, or when it is not given that of a "sep=;", a tab where the first line has one, a
  // comma otherwise. Throws DataError when there is no first line, when lines end with CR alone, or as next().
  TableReader(const std::filesystem::path& file, std::optional<char> delimiter);

  // Where a column stands in each row. Throws DataError, naming those that are there, when none or more than one has
  // the name.
  size_t column(std::string_view name) const;

  // Goes on to the next row; false at the end. Throws DataError naming file and line: another number of fields than
  // columns, a quote that does not end or is not alone in its field, a row of more than LineReader::kLongestLine, or as
  // LineReader::next().
  bool next();

  // Of the row; until the next call of next().
  const std::string& field(size_t column) const { return fields_[column]; }

  // Throws DataError("<file>:<line>: <what>") for the row, which may be longer than a line.
  [[noreturn]] void fail(std::string_view what) const;

 private:
  bool read_record();
  void split(std::string_view record);
  std::string column_names() const;

  LineReader lines_;
  char delimiter_ = ',';
  std::vector<std::string> columns_;
  std::vector<std::string> fields_;
  size_t field_count_ = 0;    // of the row; fields_ keeps its strings for the next one
  std::uint64_t start_ = 0;   // line in which the row starts
  std::uint64_t header_ = 0;  // line of the columns
  std::string joined_;        // a row of several lines
};

}  // namespace cskd::shards
