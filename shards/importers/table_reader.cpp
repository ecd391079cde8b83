#include "shards/importers/table_reader.h"

#include <algorithm>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "runtime/spelling.h"
#include "shards/importers/fields.h"

namespace cskd::shards {
namespace {

constexpr size_t kNamedColumns = 20;  // of a message

// Whether the record's last quote is open: quotes open and close in turn, doubled ones too.
bool ends_in_quotes(std::string_view record) { return std::count(record.begin(), record.end(), '"') % 2 != 0; }

// The delimiter of a line "sep=;", with which spreadsheets name theirs in front of a table.
std::optional<char> said_delimiter(std::string_view line) {
  if (line.size() != 5 || (line[4] != ';' && line[4] != ',' && line[4] != '\t' && line[4] != '|')) return std::nullopt;
  if (line.substr(0, 4) != "sep=" && line.substr(0, 4) != "SEP=") return std::nullopt;
  return line[4];
}

}  // namespace

TableReader::TableReader(const std::filesystem::path& file, std::optional<char> delimiter) : lines_(file) {
  do {
    if (!lines_.next())
      throw runtime::DataError(fmt::format("{} is empty; its first line names columns", file.native()));
  } while (trimmed(lines_.line()).empty());
  if (const auto said = said_delimiter(lines_.line())) {
    if (!delimiter) delimiter = *said;
    if (!lines_.next()) throw runtime::DataError(fmt::format("{} names no columns", file.native()));
  }
  header_ = start_ = lines_.number();
  if (lines_.line().find('\r') != std::string_view::npos) {
    fail("lines end with a carriage return alone; write the table with LF: tr '\\r' '\\n'");
  }
  const bool has_tab = lines_.line().find('\t') != std::string_view::npos;
  delimiter_ = delimiter.value_or(has_tab ? '\t' : ',');
  if (ends_in_quotes(lines_.line())) fail("a quote that does not end");
  split(lines_.line());
  columns_.assign(fields_.begin(), fields_.begin() + static_cast<std::ptrdiff_t>(field_count_));
}

size_t TableReader::column(std::string_view name) const {
  const auto found = std::find(columns_.begin(), columns_.end(), name);
  if (found == columns_.end()) {
    const std::string near = runtime::nearest(name, columns_);
    if (near.empty() && columns_.front().starts_with('#')) {
      throw runtime::DataError(fmt::format(
          "{}: the first line is a comment; remove it, since it should name the columns", lines_.place(header_)));
    }
    const bool has_other = columns_.size() == 1 && delimiter_ != ';' && columns_.front().find(';') != std::string::npos;
    throw runtime::DataError(fmt::format("{}: no column is called {}{}; there are {}{}", lines_.place(header_),
                                         in_quotes(name),
                                         near.empty() ? "" : fmt::format(", did you mean {}?", in_quotes(near)),
                                         column_names(), has_other ? "; set columns.delimiter = \";\"" : ""));
  }
  if (std::find(found + 1, columns_.end(), name) != columns_.end()) {
    throw runtime::DataError(fmt::format("{}: two columns are called {}", lines_.place(header_), in_quotes(name)));
  }
  return static_cast<size_t>(found - columns_.begin());
}

bool TableReader::next() {
  while (read_record()) {
    if (field_count_ == 0) continue;
    if (field_count_ != columns_.size()) {
      fail(fmt::format("{} fields, expected {} as in the first line", field_count_, columns_.size()));
    }
    return true;
  }
  return false;
}

void TableReader::fail(std::string_view what) const {
  throw runtime::DataError(fmt::format("{}: {}", lines_.place(start_), what));
}

bool TableReader::read_record() {
  if (!lines_.next()) return false;
  start_ = lines_.number();
  if (!ends_in_quotes(lines_.line())) {
    split(lines_.line());
    return true;
  }
  joined_ = lines_.line();
  bool is_open = true;
  while (is_open) {
    if (joined_.size() > LineReader::kLongestLine) {
      fail(fmt::format("a quote that does not end within {} bytes", LineReader::kLongestLine));
    }
    if (!lines_.next()) fail("a quote that does not end");
    joined_.append("\n").append(lines_.line());
    is_open = is_open != ends_in_quotes(lines_.line());
  }
  split(joined_);
  return true;
}

void TableReader::split(std::string_view record) {
  field_count_ = 0;
  if (record.empty()) return;
  for (size_t at = 0;; ++at) {  // one delimiter further
    if (field_count_ == fields_.size()) fields_.emplace_back();
    std::string& field = fields_[field_count_++];
    field.clear();
    if (at < record.size() && record[at] == '"') {
      for (++at;;) {
        const size_t quote = record.find('"', at);  // there is one: the quotes of a record are even
        field.append(record.substr(at, quote - at));
        at = quote + 1;
        if (at == record.size() || record[at] != '"') break;
        field.push_back('"');
        ++at;
      }
      if (at < record.size() && record[at] != delimiter_) fail("text behind the closing quote of a field");
    } else {
      const size_t end = std::min(record.find(delimiter_, at), record.size());
      field.assign(record.substr(at, end - at));
      if (field.find('"') != std::string::npos) fail("a quote inside a field that does not begin with one");
      at = end;
    }
    if (at >= record.size()) return;
  }
}

std::string TableReader::column_names() const {
  std::vector<std::string> names;
  for (const std::string& name : columns_) {
    if (names.size() < kNamedColumns) names.push_back(in_quotes(name));
  }
  const std::string text = fmt::format("{}", fmt::join(names, ", "));
  return columns_.size() > kNamedColumns ? fmt::format("{}, ... ({} in all)", text, columns_.size()) : text;
}

}  // namespace cskd::shards
