#include "stages/model_source.h"

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include "config/tables.h"
#include "config/toml_writer.h"
#include "features/cache.h"
#include "models/encoder.h"
#include "models/weights/encoder_weights.h"
#include "models/weights/weight_file.h"
#include "runtime/content_hash.h"
#include "runtime/error.h"
#include "stages/inputs.h"

namespace cskd::stages {
namespace {

// "align.student" as list and name.
std::pair<std::string, std::string> parts_of(const std::string& table) {
  const std::size_t dot = table.find('.');
  return {table.substr(0, dot), table.substr(dot + 1)};
}

}  // namespace

ModelSource model_source(const config::Config& config, const std::string& from) {
  std::string table = from;
  bool whitens = false;
  for (;;) {
    const auto [list, name] = parts_of(table);
    if (list == "encoders") {
      const config::Encoder& encoder = config::table_named(config.encoders(), name);
      return {.key = table + ".architecture",
              .architecture = encoder.architecture(),
              .image_size = static_cast<int>(encoder.image_size()),
              .is_trained = table != from || !encoder.weights().empty(),
              .whitens = whitens};
    }
    if (list == "towers") {
      return {.key = table + ".architecture",
              .architecture = config::table_named(config.towers(), name).architecture(),
              .whitens = whitens};
    }
    if (list == "align") {
      table = "encoders." + config::table_named(config.align(), name).encoder();
    } else if (list == "ridge") {
      const config::Ridge& ridge = config::table_named(config.ridge(), name);
      // Whoever starts from it keeps its head, or starts from its encoder alone.
      whitens = whitens || ridge.whiten();
      table = ridge.from();
    } else {
      table = list == "finetune" ? config::table_named(config.finetune(), name).from()
                                 : config::table_named(config.distill(), name).from();
    }
  }
}

inference::Model make_scorer(const run::Context& context, const ModelSource& source, std::int64_t bins,
                             const std::string& purpose) {
  inference::Model model =
      inference::make_model(context, source.architecture, source.image_size, models::kScoreHead, bins, purpose);
  model->whiten_features(source.whitens);
  return model;
}

runtime::Inputs source_inputs(const config::Config& config, const run::RunFolder& folder, const std::string& from) {
  runtime::Inputs inputs;
  const auto [list, name] = parts_of(from);
  if (list == "encoders") {
    config::Encoder encoder = config::table_named(config.encoders(), name);
    if (!encoder.weights().empty()) {
      runtime::ContentHasher hasher;
      models::WeightFile(encoder.weights()).add_contents(hasher);
      inputs.add(fmt::format("contents of encoders.{}.weights", name), hasher.hash().hex());
    }
    // Their contents count, wherever they lie; a plug-in's architecture is a name with the hash of its program.
    encoder.clear_weights();
    encoder.clear_plugin();
    inputs.add(config::settings_of(encoder, "encoders." + name, config::Keys::kDecisive));
  } else if (list == "towers") {
    inputs.add({features::weights_input(config::table_named(config.towers(), name))});
  } else if (list == "align") {
    inputs.add(align_inputs(config, folder, name));
  } else if (list == "ridge") {
    inputs.add(ridge_inputs(config, folder, name));
  } else if (list == "finetune") {
    inputs.add(finetune_inputs(config, folder, name));
  } else {
    inputs.add(distill_inputs(config, folder, name));
  }
  return inputs;
}

void start_weights(models::HeadedEncoder& model, const std::string& from, const run::Context& context) {
  const auto [list, name] = parts_of(from);
  if (list == "encoders" || list == "towers") {
    const std::string& weights = list == "encoders" ? config::table_named(context.config.encoders(), name).weights()
                                                    : config::table_named(context.config.towers(), name).weights();
    if (weights.empty()) return;
    const models::WeightReport report = models::load_encoder_weights(model.encoder(), weights);
    if (context.world.rank() == 0) spdlog::info("{}: {}", from, models::sentence(report, model.shape()));
    return;
  }
  const models::StoredModel stored = inference::read_stage_model(context, from);
  const models::EncoderShape& shape = model.shape();
  if (shape.name != stored.encoder || shape.image_size != stored.image_size) {
    throw runtime::DataError(fmt::format("{} holds weights of '{}' at {} pixels, but the model is '{}' at {} pixels",
                                         stored.path.native(), stored.encoder, stored.image_size, shape.name,
                                         shape.image_size));
  }
  const bool scores = stored.tensors.contains(std::string(models::kScoreHead) + ".weight");
  model.load(stored.tensors, stored.path.native(), !scores);
}

}  // namespace cskd::stages
