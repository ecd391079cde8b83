// Every key of the configuration for people, made from the schema.
#pragma once

#include <string>

namespace cskd::config {

// For a terminal, at most 100 columns: each key with type, unit, range, default and effect.
std::string help_all();

// docs/configuration.md.
std::string markdown_page();

}  // namespace cskd::config
