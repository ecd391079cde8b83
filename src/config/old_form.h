// The form that configurations had before stages got names, and what it is called now.
#pragma once

#include <string>

#include "config/toml_tree.h"

namespace cskd::config {

// Throws UsageError with the new form of these very tables when the file has [clip], [cache] or [baseline], or keys
// right below [align], [finetune] or [distill]. `name` stands for the file.
void refuse_old_form(const TomlTable& root, const std::string& name);

}  // namespace cskd::config
