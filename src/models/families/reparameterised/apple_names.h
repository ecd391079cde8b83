// Names of reparameterised blocks in Apple's weight files (ml-mobileone, ml-fastvit, ml-mobileclip).
#pragma once

#include <string>
#include <vector>

#include "models/weights/weight_layout.h"

namespace cskd::models::reparameterised {

// For a MobileOneBlock, or a convolution with a large and a small kernel, at `place` (a regular expression) in the file
// and at `ours` in the encoder; both end in a dot. `groups`: how many parts of a name `place` captures.
std::vector<NameRule> block_rules(const std::string& place, const std::string& ours, const std::string& squeeze_name,
                                  int groups);

// Tensors of files in inference form, in timm's and in Apple's names.
UnusableTensor folded_tensors();

}  // namespace cskd::models::reparameterised
