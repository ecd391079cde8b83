// All encoders that cskd knows, with their structure.
#pragma once

#include <string>
#include <vector>

#include "models/encoder_entry.h"

namespace cskd::models {

const std::vector<EncoderEntry>& encoder_entries();

// Throws UsageError for an unknown name, with the nearest and all others.
const EncoderEntry& encoder_entry(const std::string& name);

}  // namespace cskd::models
