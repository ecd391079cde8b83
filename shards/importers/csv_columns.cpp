#include "shards/importers/csv_columns.h"

#include <fmt/format.h>

#include "runtime/error.h"

namespace cskd::shards {

std::string path_column_of(const config::Source& source) {
  return source.columns().path().empty() ? kDefaultPathColumn : source.columns().path();
}

std::optional<char> delimiter_of(const config::Source& source) {
  const std::string& delimiter = source.columns().delimiter();
  if (delimiter.empty()) return std::nullopt;
  if (delimiter == "tab") return '\t';
  const auto character = static_cast<unsigned char>(delimiter[0]);
  if (delimiter.size() == 1 && character < 0x7F && character != '"' && (character >= ' ' || character == '\t')) {
    return delimiter[0];
  }
  throw runtime::UsageError(fmt::format(
      "source '{}': columns.delimiter is \"{}\", expected one ASCII character other than a quote, or \"tab\"",
      source.name(), delimiter));
}

}  // namespace cskd::shards
