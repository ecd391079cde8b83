// A check that the keys of a source go together.
#pragma once

#include "config/source.pb.h"

namespace cskd::shards {

// Throws UsageError, naming the source and its keys, when they contradict each other: shares that the split rule does
// not use or that exceed 1 together, ratings' keys where there are no ratings, columns of no csv source, or as
// rating_scale().
void check_source(const config::Source& source);

}  // namespace cskd::shards
