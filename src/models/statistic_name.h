// Names of the running statistics of batch normalisation.
#pragma once

#include <string_view>

namespace cskd::models {

// Whether a buffer of this name is a running statistic of BatchNorm. Any other (a table of indices, a mask) is a
// constant of an encoder's structure, and neither trained, averaged nor stored.
bool is_statistic(std::string_view buffer);

}  // namespace cskd::models
