// From a TOML file and the command line to the messages of the schema.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "config/config.pb.h"

namespace cskd::config {

// The configuration in `path`, changed by `overrides` ("run.seed=7", `sources[0].path="x"`; the value is TOML, or bare
// text where the key takes text). Order of precedence: overrides, later ones over earlier ones; the file; the defaults
// of the schema. Relative paths of the file start at its folder, those of overrides at the current folder; all come out
// absolute.
//
// Throws UsageError that lists everything that is wrong (the first 20), one line each: `file:line:column: what was
// found, what is expected`, or `--set run.seed=x: ...`. Nothing but the file is touched.
Config load_config(const std::filesystem::path& path, const std::vector<std::string>& overrides);

// The same from a text; `name` stands for the file in messages, `folder` is where relative paths start.
Config parse_config(const std::string& document, const std::string& name, const std::filesystem::path& folder,
                    const std::vector<std::string>& overrides);

}  // namespace cskd::config
