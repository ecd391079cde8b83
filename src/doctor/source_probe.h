// Whether a rank can read the sources that a configuration names.
#pragma once

#include <filesystem>
#include <string>

#include "doctor/rank_facts.h"

namespace cskd::doctor {

// A source as the configuration names it.
struct SourceToCheck {
  std::string name;
  std::string kind;  // "folder", "webdataset" or "ava"
  std::filesystem::path path;
};

// Looks for what `kind` needs: a readable folder with at least one entry, with a .tar file, with AVA.txt and images/.
SourceFacts look_at_source(const SourceToCheck& source);

}  // namespace cskd::doctor
