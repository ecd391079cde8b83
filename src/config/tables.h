// Tables of a configuration by their names.
#pragma once

#include <algorithm>
#include <string_view>

#include <google/protobuf/repeated_ptr_field.h>

#include "runtime/check.h"

namespace cskd::config {

// REQUIRES: there is a table of this name
template <typename Table>
const Table& table_named(const google::protobuf::RepeatedPtrField<Table>& tables, std::string_view name) {
  const auto found = std::ranges::find_if(tables, [&](const Table& table) { return table.name() == name; });
  CSKD_CHECK(found != tables.end(), "no table '{}'", name);
  return *found;
}

}  // namespace cskd::config
