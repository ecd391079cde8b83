// A message as TOML: what load_config() read, with every default written out.
#pragma once

#include <string>

#include <google/protobuf/message.h>

namespace cskd::config {

// Read again by MessageReader, it gives an equal message. Keys in the order of the schema, tables as [a.b], lists of
// tables as
// [[a]], numbers with all their digits.
std::string to_toml(const google::protobuf::Message& message);

}  // namespace cskd::config
