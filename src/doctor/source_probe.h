// A check that a rank can read the sources that a configuration names.
#pragma once

#include <filesystem>
#include <string>

#include "doctor/rank_facts.h"

namespace cskd::doctor {

// A source as the configuration names it.
struct SourceToCheck {
  std::string name;
  std::string kind;  // as the configuration has it
  std::filesystem::path path;
};

// Looks for what `kind` needs at least: a readable folder that is not empty, with a .tar file, with AVA.txt; or the
// table. Packing finds out the rest.
SourceFacts look_at_source(const SourceToCheck& source);

}  // namespace cskd::doctor
