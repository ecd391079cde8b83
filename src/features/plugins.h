// The plug-ins of a configuration.
#pragma once

#include "config/config.pb.h"

namespace cskd::features {

// Registers each plug-in that a tower or an encoder names, and sets what it stands for: `architecture` the name that it
// is known by, `weights`, where they are not given, the plug-in's own. Reads the files. The same call again changes
// nothing. Throws UsageError, DataError that name the table and the file.
void load_plugins(config::Config& config);

}  // namespace cskd::features
