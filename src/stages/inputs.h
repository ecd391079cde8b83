// The inputs of each training: its settings, those of what it starts from, and digests of what it reads.
#pragma once

#include <string>

#include "config/config.pb.h"
#include "run/run_folder.h"
#include "runtime/inputs.h"

namespace cskd::stages {

// These read the manifest and the weight files. Throw DataError when the manifest is damaged.
runtime::Inputs align_inputs(const config::Config& config, const run::RunFolder& folder, const std::string& name);
runtime::Inputs export_inputs(const config::Config& config, const run::RunFolder& folder, const std::string& name);
runtime::Inputs ridge_inputs(const config::Config& config, const run::RunFolder& folder, const std::string& name);
runtime::Inputs finetune_inputs(const config::Config& config, const run::RunFolder& folder, const std::string& name);
runtime::Inputs distill_inputs(const config::Config& config, const run::RunFolder& folder, const std::string& name);

}  // namespace cskd::stages
