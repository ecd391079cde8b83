// The places where a published collection keeps its lists and pictures. It may have been unpacked or mirrored in more
// than one way: the first place that is there counts.
#pragma once

#include <string>
#include <vector>

#include "config/source.pb.h"

namespace cskd::shards {

// source.path(), made absolute.
std::string source_path(const config::Source& source);

// The first of `places`, relative to the source's path, that is a file. Throws DataError that lists them when none is.
std::string layout_file(const config::Source& source, const std::vector<std::string>& places);

// source.images() where it is given, otherwise the first of `places` that is a folder; "" stands for the source's path
// itself. Throws DataError that lists them when none is.
std::string layout_images(const config::Source& source, const std::vector<std::string>& places);

}  // namespace cskd::shards
