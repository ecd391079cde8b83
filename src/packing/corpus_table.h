// A table of what became of the pictures of each source.
#pragma once

#include <string>

namespace cskd::packing {

// From the facts of run_shard(), JSON.
std::string corpus_table(const std::string& facts);

}  // namespace cskd::packing
