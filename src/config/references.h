// References between the tables of a configuration: "distill.student.from" names "align.student".
#pragma once

#include <map>
#include <string>
#include <vector>

#include <google/protobuf/message.h>

#include "config/message_reader.h"

namespace cskd::config {

struct Reference {
  std::string table;   // that refers: "distill.student"
  std::string key;     // with its place in a list: "distill.student.teachers[0]"
  std::string target;  // "finetune.teacher", whether the value names the list or not
};

// All references of `root`, in the order of the schema and the file.
std::vector<Reference> references_in(const google::protobuf::Message& root);

// Names of the tables in a list of tables with names, in the order of the file. REQUIRES: `root` has such a list
std::vector<std::string> tables_in(const google::protobuf::Message& root, const std::string& list);

// Adds what is wrong with them to `problems`: no such table (with the nearest), a table of another list, a circle
// (named in full). `places`: of the keys, as MessageReader tells.
void check_references(const google::protobuf::Message& root, const std::map<std::string, Place>& places,
                      std::vector<Problem>& problems);

}  // namespace cskd::config
