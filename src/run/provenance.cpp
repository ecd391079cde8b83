#include "run/provenance.h"

#include "shards/manifest.h"

namespace cskd::run {

runtime::Inputs corpus_inputs(const config::Config& config, const RunFolder& folder) {
  runtime::Inputs inputs;
  inputs.add("contents of the shards", shards::corpus_digest(shards::read_manifest(folder.shards())).hex());
  inputs.add("data.resize", config::Resize_Name(config.data().resize()));
  return inputs;
}

runtime::Inputs seeded_corpus_inputs(const config::Config& config, const RunFolder& folder) {
  runtime::Inputs inputs = corpus_inputs(config, folder);
  inputs.add("run.seed", std::to_string(config.run().seed()));
  return inputs;
}

}  // namespace cskd::run
