// A message as TOML: what load_config() read, with every default written out.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include <google/protobuf/message.h>

#include "config/toml_tree.h"

namespace cskd::config {

// Read again by MessageReader, it gives an equal message. Keys in the order of the schema, tables as [a.b], lists of
// tables as
// [[a]], numbers with all their digits.
std::string to_toml(const google::protobuf::Message& message);

// A value of a document as TOML. REQUIRES: it is no table
std::string to_toml(const TomlValue& value);

// A text as a TOML string, in quotes.
std::string quoted(const std::string& text);

enum class Keys {
  kAll,
  kDecisive,  // without those that may change in a run, or that came later and have their default value
};

// Every key and its value in TOML syntax, each key with `path` before it: {"align.training.steps", "200"},
// {"sources[0].name", "\"coast\""}, {"align.student.encoder", "\"mobile\""}.
std::vector<std::pair<std::string, std::string>> settings_of(const google::protobuf::Message& message,
                                                             const std::string& path, Keys keys = Keys::kAll);

}  // namespace cskd::config
