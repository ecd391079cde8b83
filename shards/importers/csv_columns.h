// The layout of a csv source's table.
#pragma once

#include <optional>
#include <string>

#include "config/source.pb.h"

namespace cskd::shards {

inline constexpr const char* kDefaultPathColumn = "path";  // of the schema

// The column with the pictures' paths.
std::string path_column_of(const config::Source& source);

// Between columns; nothing when the table itself shows it. Throws UsageError when the key is neither empty, one
// character that can be a delimiter, nor "tab".
std::optional<char> delimiter_of(const config::Source& source);

}  // namespace cskd::shards
