#include "run/provenance.h"

#include "shards/manifest.h"

namespace cskd::run {

runtime::Inputs corpus_inputs(const config::Config& config, const RunFolder& folder) {
  runtime::Inputs inputs;
  inputs.add("contents of the shards", shards::corpus_digest(shards::read_manifest(folder.shards())).hex());
  inputs.add("data.resize", config::Resize_Name(config.data().resize()));
  return inputs;
}

}  // namespace cskd::run
