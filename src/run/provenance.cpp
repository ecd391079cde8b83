#include "run/provenance.h"

#include "shards/manifest.h"

namespace cskd::run {

runtime::Inputs corpus_inputs(const Context& context) {
  runtime::Inputs inputs;
  inputs.add("contents of the shards", shards::corpus_digest(shards::read_manifest(context.folder.shards())).hex());
  inputs.add("run.seed", std::to_string(context.config.run().seed()));
  inputs.add("data.resize", config::Resize_Name(context.config.data().resize()));
  return inputs;
}

}  // namespace cskd::run
