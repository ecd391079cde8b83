// The inputs of every result that is made from the packed corpus.
#pragma once

#include "run/context.h"
#include "runtime/inputs.h"

namespace cskd::run {

// The corpus, the seed and how pictures are resized. Throws DataError when the manifest is damaged.
runtime::Inputs corpus_inputs(const Context& context);

}  // namespace cskd::run
