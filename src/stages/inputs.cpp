#include "stages/inputs.h"

#include <set>

#include "config/toml_writer.h"
#include "features/cache.h"
#include "features/clip_tower.h"
#include "run/provenance.h"

namespace cskd::stages {
namespace {

using config::Keys;
using config::settings_of;

void add_order(runtime::Inputs& inputs, const config::Config& config) {
  inputs.add("data.shuffle_window", std::to_string(config.data().shuffle_window()));
}

// Of a training that sees labels, where its models start so.
runtime::Inputs labelled_inputs(const run::Context& context, const std::set<config::Start>& starts) {
  runtime::Inputs inputs = run::corpus_inputs(context);
  inputs.add(settings_of(context.config.labels(), "labels", Keys::kDecisive));
  add_order(inputs, context.config);
  // What was aligned depends on CLIP's weights, too: the file is read once.
  if (starts.contains(config::aligned)) {
    inputs.add(align_inputs(context));
  } else if (starts.contains(config::clip)) {
    inputs.add(features::kClipInput, features::clip_inputs(context.config).hex());
  }
  return inputs;
}

}  // namespace

runtime::Inputs align_inputs(const run::Context& context) {
  runtime::Inputs inputs = features::cache_inputs(context);
  inputs.add(settings_of(context.config.align(), "align", Keys::kDecisive));
  add_order(inputs, context.config);
  return inputs;
}

runtime::Inputs supervised_inputs(const run::Context& context, const std::string& stage,
                                  const config::Training& training, const std::string& encoder, int image_size,
                                  config::Start start) {
  runtime::Inputs inputs = labelled_inputs(context, {start});
  inputs.add("encoder of " + stage, encoder);
  inputs.add("image size of " + stage, std::to_string(image_size));
  inputs.add(settings_of(training, stage + ".training", Keys::kDecisive));
  return inputs;
}

runtime::Inputs distill_inputs(const run::Context& context) {
  const config::Config& config = context.config;
  runtime::Inputs inputs = labelled_inputs(context, {config.distill().start(), config.finetune().start()});
  inputs.add("encoder of distill", config.align().encoder());
  inputs.add("image size of distill", std::to_string(config.align().image_size()));
  inputs.add(settings_of(config.distill(), "distill", Keys::kDecisive));
  inputs.add(settings_of(config.finetune(), "finetune", Keys::kDecisive));
  return inputs;
}

}  // namespace cskd::stages
