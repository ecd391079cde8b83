#include "stages/inputs.h"

#include "config/tables.h"
#include "config/toml_writer.h"
#include "features/cache.h"
#include "run/provenance.h"
#include "stages/model_source.h"
#include "stages/teacher_answers.h"

namespace cskd::stages {
namespace {

using config::Keys;
using config::settings_of;

// The corpus, in which order its pictures are seen, and by which random numbers.
runtime::Inputs training_inputs(const config::Config& config, const run::RunFolder& folder) {
  runtime::Inputs inputs = run::seeded_corpus_inputs(config, folder);
  inputs.add("data.shuffle_window", std::to_string(config.data().shuffle_window()));
  return inputs;
}

// Of a training that sees labels and starts from `from`.
runtime::Inputs labelled_inputs(const config::Config& config, const run::RunFolder& folder, const std::string& from) {
  runtime::Inputs inputs = training_inputs(config, folder);
  inputs.add(settings_of(config.labels(), "labels", Keys::kDecisive));
  inputs.add(source_inputs(config, folder, from));
  return inputs;
}

}  // namespace

runtime::Inputs align_inputs(const config::Config& config, const run::RunFolder& folder, const std::string& name) {
  const config::Align& align = config::table_named(config.align(), name);
  runtime::Inputs inputs = training_inputs(config, folder);
  inputs.add(source_inputs(config, folder, "encoders." + align.encoder()));
  for (const std::string& tower : align.towers()) {
    inputs.add(features::cache_inputs(config, folder, tower));
    inputs.add({features::whole_input(config::table_named(config.towers(), tower))});
  }
  inputs.add(settings_of(align, "align." + name, Keys::kDecisive));
  return inputs;
}

runtime::Inputs ridge_inputs(const config::Config& config, const run::RunFolder& folder, const std::string& name) {
  const config::Ridge& ridge = config::table_named(config.ridge(), name);
  runtime::Inputs inputs = run::seeded_corpus_inputs(config, folder);
  inputs.add(settings_of(config.labels(), "labels", Keys::kDecisive));
  inputs.add(source_inputs(config, folder, ridge.from()));
  inputs.add(settings_of(ridge, "ridge." + name, Keys::kDecisive));
  return inputs;
}

runtime::Inputs export_inputs(const config::Config& config, const run::RunFolder& folder, const std::string& name) {
  const config::Export& table = config::table_named(config.export_(), name);
  runtime::Inputs inputs = run::seeded_corpus_inputs(config, folder);
  inputs.add(source_inputs(config, folder, table.from()));
  inputs.add(settings_of(config.evaluate(), "evaluate", Keys::kDecisive));
  inputs.add(settings_of(table, "export." + name, Keys::kDecisive));
  return inputs;
}

runtime::Inputs finetune_inputs(const config::Config& config, const run::RunFolder& folder, const std::string& name) {
  const config::Finetune& finetune = config::table_named(config.finetune(), name);
  runtime::Inputs inputs = labelled_inputs(config, folder, finetune.from());
  inputs.add(settings_of(finetune, "finetune." + name, Keys::kDecisive));
  return inputs;
}

runtime::Inputs distill_inputs(const config::Config& config, const run::RunFolder& folder, const std::string& name) {
  const config::Distill& distill = config::table_named(config.distill(), name);
  runtime::Inputs inputs = labelled_inputs(config, folder, distill.from());
  for (const std::string& teacher : distill.teachers()) inputs.add(source_inputs(config, folder, teacher));
  if (!distill.partner().empty()) inputs.add(source_inputs(config, folder, distill.partner()));
  if (!distill.attention_of().empty()) inputs.add(source_inputs(config, folder, distill.attention_of()));
  if (distill.answers() == config::Distill::same_view) {
    for (const auto& tower : teachers_towers(config, distill)) {
      if (!tower) continue;  // refused by require_distill()
      inputs.add(features::cache_inputs(config, folder, *tower));
      inputs.add({features::whole_input(config::table_named(config.towers(), *tower))});
    }
  }
  inputs.add(settings_of(distill, "distill." + name, Keys::kDecisive));
  return inputs;
}

}  // namespace cskd::stages
