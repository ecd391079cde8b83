// truth/captions.csv: what every picture of a corpus shows.
#pragma once

#include <cstdint>
#include <string>

#include "demo/corpus_plan.h"

namespace cskd::demo {

// The text of the file: a header, then for every picture its path and its quoted caption, in the plan's order; a
// picture in a tar has the path `archive/x.tar/member.jpg`. Damaged files show nothing and grey ones no colours: they
// are left out.
std::string caption_list(const CorpusPlan& plan, std::uint64_t seed);

}  // namespace cskd::demo
