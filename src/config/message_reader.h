// Fills a protobuf message from a TOML table by reflection, so that a new key is one field of a .proto file.
//
// Supported: bool, all integers, float, double, string, enumerations (by name), messages (tables), lists of all these,
// and tables with names. TOML integers are 64-bit signed; a uint64 key takes 0..2^63-1. Bytes, maps, oneofs and groups
// are bugs of the schema.
#pragma once

#include <map>
#include <string>
#include <vector>

#include <google/protobuf/message.h>

#include "config/toml_tree.h"

namespace cskd::config {

struct Problem {
  Place place;
  std::string text;
};

class MessageReader {
 public:
  // What a value is doing wrong is added to `problems`, and reading goes on with the next.
  explicit MessageReader(std::vector<Problem>& problems) : problems_(problems) {}

  // Sets defaults first, then what the table gives, then checks what is required and unique. `path` is the message's
  // own,
  // "" for the root; `place` is where a missing key is reported.
  void read(const TomlTable& table, Place place, const std::string& path, google::protobuf::Message& message);

  // Where each value stands that names a table, by its path: "distill.student.teachers[0]".
  const std::map<std::string, Place>& places_of_references() const { return places_; }

 private:
  // Gives `message` the defaults of its schema, tables inside it too.
  static void set_defaults(google::protobuf::Message& message);
  void read_field(const TomlValue& value, const std::string& path, const google::protobuf::FieldDescriptor& field,
                  google::protobuf::Message& message);
  void read_scalar(const TomlValue& value, const std::string& path, const google::protobuf::FieldDescriptor& field,
                   google::protobuf::Message& message);
  void read_list(const TomlValue& value, const std::string& path, const google::protobuf::FieldDescriptor& field,
                 google::protobuf::Message& message);
  void read_named(const TomlValue& value, const std::string& path, const google::protobuf::FieldDescriptor& field,
                  google::protobuf::Message& message);
  void check_required(const TomlTable& table, Place place, const std::string& path,
                      const google::protobuf::Message& message);
  void check_unique(const TomlArray& array, const std::string& path, const google::protobuf::FieldDescriptor& field);
  void refuse_unknown(const TomlKey& key, const std::string& path, const google::protobuf::Descriptor& type);
  void report(Place place, std::string text) { problems_.push_back({place, std::move(text)}); }

  std::vector<Problem>& problems_;
  const google::protobuf::Descriptor* root_ = nullptr;
  std::map<std::string, Place> places_;
};

}  // namespace cskd::config
