// The schema as data: every key with its rules and its documentation, taken from the .proto files.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <google/protobuf/descriptor.h>

#include "config/options.pb.h"

namespace cskd::config {

// The rules in a field's options; all empty for a field without.
const KeyRules& rules_of(const google::protobuf::FieldDescriptor& field);

// Longest path that a key takes, in bytes.
constexpr std::size_t kLongestPath = 4096;

// What an integer field holds, narrowed by its rules, and by TOML to 64 signed bits.
struct IntegerRange {
  std::int64_t low;
  std::int64_t high;
};
IntegerRange integer_range(const google::protobuf::FieldDescriptor& field);

// The field that holds the name of a table, null where tables of this type have none.
const google::protobuf::FieldDescriptor* table_name_of(const google::protobuf::Descriptor& type);

// Whether a field is a list of tables with names, [LIST.NAME] in TOML.
bool is_named_list(const google::protobuf::FieldDescriptor& field);

// The value of a key that is not given, in TOML syntax. REQUIRES: it need not be given
std::string default_of(const google::protobuf::FieldDescriptor& field);

// The lists whose tables a key's value names; empty for keys that name none.
std::vector<std::string> referred_lists(const google::protobuf::FieldDescriptor& field);

// Whether `text` can be the name of a table or a source, by kNameRule.
inline constexpr const char* kNameRule = "1 to 64 of a-z, 0-9, _ and -";
bool is_name(const std::string& text);

// "a whole number from 0 to 65535", `one of "folder", "webdataset" and "ava"`, "a table", ...: what a value must be.
std::string expectation(const google::protobuf::FieldDescriptor& field);

// Values of an enumeration as written in TOML: the names of the .proto file.
std::vector<std::string> choices(const google::protobuf::EnumDescriptor& type);

// A key or a table of the configuration, for people.
struct KeyPage {
  std::string path;  // "run.folder", "sources[].name"
  bool is_table = false;
  std::string type;           // "path", "whole number", "number", "text", "one of folder, webdataset, ava"
  std::string unit;           // may be empty
  std::string range;          // "from 0", "above 0", ..., may be empty
  std::string default_value;  // in TOML syntax, "required" for a key without one
  std::string effect;         // the comment of the field, paragraphs as single lines
  // Of a table: the path of an earlier one that has the same keys with the same defaults; its own are not listed again.
  std::string same_as;
  // Name and comment of each value of an enumeration.
  std::vector<std::pair<std::string, std::string>> choices;
};

// Every table and key of the configuration, in the order of the .proto files.
std::vector<KeyPage> key_pages();

}  // namespace cskd::config
