// Findings that make stages impossible, before any work is done rather than hours later.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "config/config.pb.h"
#include "run/run_folder.h"
#include "stages/graph.h"

namespace cskd::stages {

// Why these stages cannot be done as the configuration says, a sentence each, by what the configuration itself, the
// number of ranks and the weight files tell: unknown encoders and image sizes, weights that are missing or not the
// encoder's, batches that ranks or micro-batches do not divide, micro-batches of one picture with batch
// normalisation, figures that nothing gives. Empty: nothing is wrong.
std::vector<std::string> impossible_stages(const config::Config& config, const std::vector<Stage>& stages, int ranks);

// The same by the numbers of pictures that were packed: no labels, nothing unlabelled to distil from, fewer than two
// test pictures, no validation pictures where a training asks for them, batches larger than an epoch. Throws as
// shards::read_manifest().
std::vector<std::string> impossible_on_corpus(const config::Config& config, const std::vector<Stage>& stages,
                                              const run::RunFolder& folder);

// Both, the second one where the corpus lies packed as it is configured, or is not to be packed by these stages. Throws
// as shards::read_manifest() where no stage packs; one that does restores a damaged manifest.
std::vector<std::string> find_impossible(const config::Config& config, const std::vector<Stage>& stages, int ranks,
                                         const run::RunFolder& folder);

// What these stages need and is not among them, but has no result in the folder, or one that was made with other
// settings or data (as run::agree_on_completion() compares them, without a look at the products).
std::vector<std::string> lacking_needs(const config::Config& config, const std::vector<Stage>& stages,
                                       const run::RunFolder& folder, const std::set<std::string>& allowed_changes);

// What the weight files of these stages hold, a sentence each, with the licence of the published weights. Leaves out
// what impossible_stages() refuses.
std::vector<std::string> describe_weights(const config::Config& config, const std::vector<Stage>& stages);

// Throws UsageError with all of them, unless there are none.
void refuse(const std::vector<std::string>& findings);

}  // namespace cskd::stages
