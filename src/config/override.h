// `--set key=value`: changes a parsed document before the schema reads it.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include <google/protobuf/descriptor.h>

#include "config/message_reader.h"
#include "config/toml_tree.h"

namespace cskd::config {

// Values of override number i (from 0) get this place instead of one in the file.
constexpr Place place_of_override(int i) { return {0, i}; }
constexpr bool is_override(Place place) { return place.line == 0; }

// Sets what `text`, "path=value", says in `root`, a document of messages of type `type`. The path is `table.key`,
// of a table with a name `list.name.key`, an element of a list of tables `list[index]`; the index right behind the last
// element adds one. Relative paths become
// absolute from `current_folder`. What is wrong goes to `problems`, and `root` stays as it was.
void apply_override(const std::string& text, int number, const google::protobuf::Descriptor& type,
                    const std::filesystem::path& current_folder, TomlTable& root, std::vector<Problem>& problems);

}  // namespace cskd::config
