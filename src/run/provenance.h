// The inputs of every result that is made from the packed corpus.
#pragma once

#include "config/config.pb.h"
#include "run/run_folder.h"
#include "runtime/inputs.h"

namespace cskd::run {

// The corpus and how pictures are resized, for what does not depend on run.seed. Throws DataError when the manifest is
// damaged.
runtime::Inputs corpus_inputs(const config::Config& config, const RunFolder& folder);

// The same with run.seed, which draws pictures, labels, weights and views.
runtime::Inputs seeded_corpus_inputs(const config::Config& config, const RunFolder& folder);

}  // namespace cskd::run
