// A program that computes the same with less.
#pragma once

#include <vector>

#include "models/plugin/operation.h"
#include "models/plugin/program.h"

namespace cskd::models {

// Note [How a program is simplified]
// 1. Dropout that drops nothing is left out.
// 2. Operators in place become those that return a new tensor, and what reads the old tensor later reads the new one.
//    Where the tensor is a view or has views, which such a change reaches, all stays as it is and nothing below is
//    done.
// 3. A call with the operator and arguments of an earlier one takes its result: a program that calls a trunk once for
//    pooled features and once for tokens computes it once. Dropout is never merged.
// 4. Calls whose results nobody needs are left out.
// 5. A call that was in place is so again where its tensor has no other reader, as the model's author meant it:
//    gradients need there what they needed then.
// 6. A view becomes a reshape, which also takes tensors in another layout in memory (channels last) than the exported
//    one.
// Throws DataError for a change of images, parameters or buffers.
void simplify(std::vector<Operation>& operations, Program& program, const std::string& origin);

}  // namespace cskd::models
