#include "features/cache.h"

#include <algorithm>
#include <chrono>
#include <cstring>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/torch.h>

#include "batches/batches.h"
#include "config/tables.h"
#include "config/toml_writer.h"
#include "data/decode.h"
#include "data/render_view.h"
#include "data/sampler.h"
#include "features/tower.h"
#include "models/headed_encoder.h"
#include "run/provenance.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/free_space.h"
#include "runtime/work_queue.h"
#include "shards/feature_cache/check.h"
#include "shards/feature_cache/writer.h"

namespace cskd::features {
namespace {

std::vector<data::View> draw_views(const run::Context& context, const config::Tower& tower,
                                   const shards::ImageShardReader& shard, std::uint64_t row) {
  // The picture's contents decide its views, not its place.
  runtime::Philox random(context.config.run().seed(), data::kStreamStoredViews, shard.hash(row).prefix());
  std::vector<data::View> views;
  for (std::uint32_t v = 0; v < tower.views(); ++v) {
    views.push_back(data::random_resized_crop(random, shard.width(row), shard.height(row), tower.min_area()));
  }
  return views;
}

struct ViewBatch {
  std::uint64_t first = 0;  // row
  std::uint64_t rows = 0;
  at::Tensor pixels;  // [rows * V, S, S, 3] uint8
};

void cache_shard(const run::Context& context, const config::Tower& tower, const batches::CheckedCorpus& corpus,
                 std::uint32_t index, models::Encoder& encoder, const shards::CacheBinding& binding,
                 const std::filesystem::path& path, runtime::WorkQueue& queue) {
  const auto shard = corpus.corpus().shard(index);
  const std::uint64_t views = binding.view_count;
  const std::uint64_t rows_at_once = std::max<std::uint64_t>(1, tower.batch() / views);
  std::vector<shards::CacheRow> rows(shard->samples());
  for (std::uint64_t row = 0; row < rows.size(); ++row) {
    rows[row].image_hash = shard->hash(row).prefix();
    for (const data::View& view : draw_views(context, tower, *shard, row)) {
      rows[row].views.push_back({view.box.x, view.box.y, view.box.width, view.box.height, view.flip});
    }
  }
  const int side = encoder.shape().image_size;
  const std::uint64_t batches = (rows.size() + rows_at_once - 1) / rows_at_once;
  const auto rows_of = [&](std::uint64_t batch) {
    return std::min<std::uint64_t>(rows.size() - batch * rows_at_once, rows_at_once);
  };
  const auto loader = batches::make_loader<ViewBatch>(
      context, batches::pixel_bytes(rows_at_once * views, side), 0, batches,
      {.begin =
           [&](std::uint64_t number) {
             ViewBatch batch{.first = number * rows_at_once, .rows = rows_of(number)};
             batch.pixels = batches::pixel_room(batch.rows * views, side, context.communicator.device());
             for (std::uint64_t row = batch.first; row < batch.first + batch.rows; ++row) shard->will_read(row);
             return batch;
           },
       .fill =
           [&](ViewBatch& batch, std::uint64_t item) {
             shards::CacheRow& row = rows[batch.first + item];
             const data::SampleRef sample{index, batch.first + item};
             row.has_features = corpus.source().try_sample(sample, [&](const data::SampleSource::Sample& found) {
               for (std::uint64_t view = 0; view < views; ++view) {
                 data::render_view(found.bytes, view_of(row.views[view]), side, batches::resize_mode(context.config),
                                   batches::picture_in(batch.pixels, item * views + view));
               }
             });
             if (row.has_features) return;
             for (std::uint64_t view = 0; view < views; ++view)
               std::ranges::fill(batches::picture_in(batch.pixels, item * views + view), std::uint8_t{0});
           },
       .items = rows_of});
  const std::uint64_t numbers = views * binding.width;
  for (std::uint64_t number = 0; number < batches; ++number) {
    const ViewBatch batch = loader->next();
    const at::Tensor half = encode_views(encoder, batch.pixels, context.communicator.device());
    const at::Tensor finite = half.isfinite().view({static_cast<std::int64_t>(batch.rows), -1}).all(1);
    const auto* is_finite = finite.const_data_ptr<bool>();
    const auto* bits = static_cast<const char*>(half.data_ptr());
    for (std::uint64_t i = 0; i < batch.rows; ++i) {
      shards::CacheRow& row = rows[batch.first + i];
      if (row.has_features && !is_finite[i]) {
        throw runtime::DataError(
            fmt::format("{} with the weights {} gives features of {} that are not finite, or too large "
                        "for 16 bits: are they weights of this encoder?",
                        encoder.shape().name, tower.weights(), shard->name(batch.first + i)));
      }
      row.pooled.resize(numbers);
      if (row.has_features) std::memcpy(row.pooled.data(), bits + 2 * i * numbers, 2 * numbers);
    }
    if (queue.stopping()) return;  // whole caches only
  }
  shards::write_feature_cache(path, binding, rows);
}

std::vector<std::uint64_t> image_hashes(const shards::ImageShardReader& shard) {
  std::vector<std::uint64_t> hashes;
  for (std::uint64_t row = 0; row < shard.samples(); ++row) hashes.push_back(shard.hash(row).prefix());
  return hashes;
}

}  // namespace

shards::CacheBinding cache_binding(const config::Config& config, const config::Tower& tower,
                                   const models::EncoderShape& shape) {
  return {.encoder = shape.name,
          .weights = weights_digest(tower),
          .image_size = static_cast<std::uint64_t>(shape.image_size),
          .preprocessing = fmt::format(
              "{}, mean {} {} {}, stddev {} {} {}", config.data().resize() == config::fast ? "fast bicubic" : "bicubic",
              shape.mean[0], shape.mean[1], shape.mean[2], shape.stddev[0], shape.stddev[1], shape.stddev[2]),
          .views = fmt::format("random resized crop, area {} to 1, ratio 3/4 to 4/3, flip 1/2, seed {}",
                               tower.min_area(), config.run().seed()),
          .decoder_version = data::kDecoderVersion,
          .view_count = tower.views(),
          .width = static_cast<std::uint64_t>(shape.pooled_width)};
}

data::View view_of(const shards::StoredView& stored) {
  return {.box = {stored.x, stored.y, stored.width, stored.height}, .flip = stored.flip};
}

at::Tensor encode_views(models::Encoder& encoder, const at::Tensor& pixels, const at::Device& device) {
  const c10::InferenceMode inference;
  const at::Tensor pooled =
      encoder.forward(models::normalise(batches::to_device(pixels, device), encoder.shape())).pooled;
  return pooled.to(at::kCPU).to(at::kHalf).contiguous();
}

bool is_cached(const shards::Manifest::Shard& shard) {
  return shard.split() == static_cast<std::uint32_t>(shards::Split::kUnlabelled) ||
         shard.split() == static_cast<std::uint32_t>(shards::Split::kTrain);
}

std::string cache_stage(const config::Tower& tower) { return "cache." + tower.name(); }

std::filesystem::path cache_path(const run::Context& context, const config::Tower& tower,
                                 const shards::Manifest::Shard& shard) {
  return context.folder.stage(cache_stage(tower)) / shard.file();
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
  inputs.add(config::settings_of(views, "towers." + name, config::Keys::kDecisive));
  return inputs;
}

run::StageOutcome run_cache(const run::Context& context, const std::string& name) {
  const config::Tower& tower = config::table_named(context.config.towers(), name);
  const std::filesystem::path folder = context.folder.stage(cache_stage(tower));
  const runtime::Inputs inputs = cache_inputs(context.config, context.folder, name);
  // Caches of other shards are kept when shards were added; those of other settings are refused one by one.
  if (const auto done = run::agree_on_completion(folder, inputs, context.world, run::OtherInputs::kMakeAgain))
    return {.completion = *done, .done_before = true};

  const auto start = std::chrono::steady_clock::now();
  const batches::CheckedCorpus checked(context);
  const data::Corpus& corpus = checked.corpus();
  const std::shared_ptr<models::Encoder> encoder = load_tower(context, tower);
  const shards::CacheBinding binding = cache_binding(context.config, tower, encoder->shape());
  run::Completion completion{.stage = cache_stage(tower), .inputs = inputs};
  std::vector<std::uint32_t> indices;
  std::vector<std::int64_t> done_after{0};  // images up to each shard
  for (int i = 0; i < corpus.manifest().shards_size(); ++i) {
    const shards::Manifest::Shard& shard = corpus.manifest().shards(i);
    if (!is_cached(shard)) continue;
    indices.push_back(static_cast<std::uint32_t>(i));
    done_after.push_back(done_after.back() + static_cast<std::int64_t>(shard.samples()));
    completion.products.emplace_back(shard.file());
  }
  if (indices.empty())
    throw runtime::DataError("the corpus has neither unlabelled nor training pictures: nothing can be cached");
  completion.images = static_cast<std::uint64_t>(done_after.back()) * binding.view_count;
  completion.facts = nlohmann::ordered_json{{"views", binding.view_count}, {"width", binding.width}}.dump();
  run::make_stage_folder(folder, context.world);
  if (context.world.rank() == 0) {
    runtime::remove_temporary_files(folder);
    runtime::require_free_space(folder, completion.images * (binding.width * 2 + 32), "the feature cache");
  }
  context.world.barrier();
  {
    runtime::WorkQueue queue(context.world, static_cast<std::int64_t>(indices.size()));
    while (const auto i = queue.next()) {
      runtime::failure_point("cache.next", folder.native());
      const std::uint32_t index = indices[static_cast<size_t>(*i)];
      const std::filesystem::path path = cache_path(context, tower, corpus.manifest().shards(static_cast<int>(index)));
      if (!shards::is_valid_feature_cache(path, binding, image_hashes(*corpus.shard(index)))) {
        cache_shard(context, tower, checked, index, *encoder, binding, path, queue);
      }
      if (context.world.rank() == 0)
        context.progress(completion.stage, done_after[static_cast<size_t>(*i) + 1], done_after.back());
    }
    queue.finish("features were cached");
  }
  completion.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (context.world.rank() == 0) {
    context.progress(completion.stage, done_after.back(), done_after.back());
    run::write_completion(folder, completion);
  }
  context.world.barrier();
  return {.completion = completion};
}

}  // namespace cskd::features
