#include "features/cache.h"

#include <fmt/format.h>
#include <torch/types.h>

#include "batches/batches.h"
#include "config/tables.h"
#include "config/toml_writer.h"
#include "data/decode.h"
#include "data/view_series.h"
#include "features/tower.h"
#include "models/headed_encoder.h"
#include "run/provenance.h"
#include "runtime/error.h"

namespace cskd::features {

shards::CacheBinding cache_binding(const config::Config& config, const config::Tower& tower,
                                   const models::EncoderShape& shape) {
  return {
      .encoder = shape.name,
      .weights = weights_digest(tower),
      .image_size = static_cast<std::uint64_t>(shape.image_size),
      .preprocessing = preprocessing_of(config, shape),
      .views = fmt::format("centre square, whole, mirrored whole, random resized crops of area {} to 1, ratio 3/4 to "
                           "4/3, flip 1/2, seed {}",
                           tower.views().min_area(), tower.views().seed()),
      .decoder_version = data::kDecoderVersion,
      .view_count = tower.views().count(),
      .width = static_cast<std::uint64_t>(shape.pooled_width)};
}

data::ViewSeries view_series(const config::Tower& tower) {
  return {.seed = tower.views().seed(), .min_area = tower.views().min_area()};
}

ViewEncoder view_encoder(const run::Context& context, const config::Tower& tower,
                         const std::shared_ptr<models::Encoder>& encoder) {
  return {.name = fmt::format("{} with the weights {}", encoder->shape().name, tower.weights()),
          .advice = "are they weights of this encoder?",
          .side = encoder->shape().image_size,
          .encode = [encoder, device = context.communicator.device()](const at::Tensor& pixels) {
            const c10::InferenceMode inference;
            const at::Tensor images = models::normalise(batches::to_device(pixels, device), encoder->shape());
            return encoder->forward(images).pooled.to(at::kCPU).to(at::kHalf).contiguous();
          }};
}

std::uint64_t feature_bytes(const models::EncoderShape& shape, bool with_tokens) {
  const std::int64_t tokens = with_tokens ? std::int64_t{shape.grid} * shape.grid * shape.token_width : 0;
  return 2 * static_cast<std::uint64_t>(shape.pooled_width + tokens);
}

void require_views(const config::Tower& tower, bool are_stored) {
  const std::uint32_t count = tower.views().count();
  if (count >= data::kFixedViews || (count == 0 && !are_stored)) return;
  throw runtime::UsageError(fmt::format("towers.{}.views.count is {}, expected {} or more{}", tower.name(), count,
                                        data::kFixedViews,
                                        are_stored ? " for a cache" : ", or 0 for new views at each use"));
}

std::string cache_stage(const config::Tower& tower) { return "cache." + tower.name(); }

FeaturePlace cache_place(const run::RunFolder& folder, const config::Tower& tower) {
  return {.folder = folder.stage(cache_stage(tower)),
          .name = cache_stage(tower),
          .command = "cskd cache",
          .done = "features were cached"};
}

std::pair<std::string, std::string> whole_input(const config::Tower& tower) {
  return {fmt::format("towers.{}.views.whole", tower.name()), fmt::format("{}", tower.views().whole())};
}

std::pair<std::string, std::string> weights_input(const config::Tower& tower) {
  return {fmt::format("towers.{}.architecture and contents of its weights", tower.name()), weights_digest(tower).hex()};
}

runtime::Inputs cache_inputs(const config::Config& config, const run::RunFolder& folder, const std::string& name) {
  const config::Tower& tower = config::table_named(config.towers(), name);
  runtime::Inputs inputs = run::corpus_inputs(config, folder);
  inputs.add({weights_input(tower)});
  config::Tower views = tower;
  views.clear_weights();  // their contents count, wherever they lie
  auto settings = config::settings_of(views, "towers." + name, config::Keys::kDecisive);
  const std::string shown = whole_input(tower).first;  // of the stored views: a training decides
  std::erase_if(settings, [&](const auto& setting) { return setting.first == shown; });
  inputs.add(settings);
  return inputs;
}

run::StageOutcome run_cache(const run::Context& context, const std::string& name) {
  const config::Tower& tower = config::table_named(context.config.towers(), name);
  return store_features(
      context, cache_place(context.folder, tower), cache_inputs(context.config, context.folder, name), [&] {
        const std::shared_ptr<models::Encoder> encoder = load_tower(context, tower);
        return StoredFeatures{
            .encoder = view_encoder(context, tower, encoder),
            .binding = cache_binding(context.config, tower, encoder->shape()),
            .batch = tower.batch(),
            .view = [series = view_series(tower)](std::uint64_t picture, std::uint64_t number, int width, int height) {
              return series.view(picture, number, width, height);
            }};
      });
}

}  // namespace cskd::features
