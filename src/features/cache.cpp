#include "features/cache.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <sstream>

#include <fmt/format.h>
#include <nlohmann/json.hpp>
#include <torch/types.h>

#include "batches/batches.h"
#include "config/tables.h"
#include "config/toml_writer.h"
#include "data/decode.h"
#include "data/render_view.h"
#include "data/view_series.h"
#include "features/tower.h"
#include "models/headed_encoder.h"
#include "run/provenance.h"
#include "runtime/atomic_file.h"
#include "runtime/error.h"
#include "runtime/failure_point.h"
#include "runtime/free_space.h"
#include "runtime/input_file.h"
#include "runtime/work_queue.h"
#include "shards/feature_cache/check.h"
#include "shards/feature_cache/writer.h"

namespace cskd::features {
namespace {

struct ViewBatch {
  std::uint64_t first = 0;  // row
  std::uint64_t rows = 0;
  at::Tensor pixels;  // [rows * missing views, S, S, 3] uint8
};

// Rows with all views that the binding needs; their features, of those that are in `rows` already. Returns how many
// views of each row are.
std::uint64_t add_views(std::vector<shards::CacheRow>& rows, const shards::ImageShardReader& shard,
                        const data::ViewSeries& series, std::uint64_t count) {
  rows.resize(shard.samples());
  const std::uint64_t stored = rows.front().views.size();
  for (std::uint64_t row = 0; row < rows.size(); ++row) {
    rows[row].image_hash = shard.hash(row).prefix();  // the picture's contents decide its views, not its place
    for (std::uint64_t number = stored; number < count; ++number) {
      const data::View view = series.view(rows[row].image_hash, number, shard.width(row), shard.height(row));
      rows[row].views.push_back({view.box.x, view.box.y, view.box.width, view.box.height, view.flip});
    }
  }
  return stored;
}

// `rows`: of the shard's cache with fewer views; empty where there is none.
void cache_shard(const run::Context& context, const config::Tower& tower, const batches::CheckedCorpus& corpus,
                 std::uint32_t index, models::Encoder& encoder, const shards::CacheBinding& binding,
                 const std::filesystem::path& path, std::vector<shards::CacheRow> rows, runtime::WorkQueue& queue) {
  const auto shard = corpus.corpus().shard(index);
  const std::uint64_t stored = add_views(rows, *shard, view_series(tower), binding.view_count);
  const std::uint64_t views = binding.view_count - stored;
  const std::uint64_t rows_at_once = std::max<std::uint64_t>(1, tower.batch() / views);
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
             // What could not be read once has no features of views that were added later, either.
             row.has_features =
                 row.has_features && corpus.source().try_sample(sample, [&](const data::SampleSource::Sample& found) {
                   for (std::uint64_t view = 0; view < views; ++view) {
                     data::render_view(found.bytes, view_of(row.views[stored + view]), side,
                                       batches::resize_mode(context.config),
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
      const std::uint64_t before = row.pooled.size();
      row.pooled.resize(before + numbers);
      if (row.has_features) std::memcpy(row.pooled.data() + before, bits + 2 * i * numbers, 2 * numbers);
    }
    if (queue.stopping()) return;  // whole caches only
  }
  shards::write_feature_cache(path, binding, rows);
}

// From "<hash>  <file>" lines of all ranks, in the order of names.
std::vector<run::HashedFile> hashed_files(const std::vector<std::string>& texts) {
  std::map<std::string, std::string> hashes;
  for (const std::string& text : texts) {
    std::istringstream lines(text);
    for (std::string hash, file; lines >> hash >> file;) hashes[file] = hash;
  }
  std::vector<run::HashedFile> files;
  for (const auto& [file, hash] : hashes) files.push_back({file, hash});
  return files;
}

std::vector<std::uint64_t> image_hashes(const shards::ImageShardReader& shard) {
  std::vector<std::uint64_t> hashes;
  for (std::uint64_t row = 0; row < shard.samples(); ++row) hashes.push_back(shard.hash(row).prefix());
  return hashes;
}

}  // namespace

shards::CacheBinding cache_binding(const config::Config& config, const config::Tower& tower,
                                   const models::EncoderShape& shape) {
  return {
      .encoder = shape.name,
      .weights = weights_digest(tower),
      .image_size = static_cast<std::uint64_t>(shape.image_size),
      .preprocessing = fmt::format("{}, mean {} {} {}, stddev {} {} {}",
                                   config.data().resize() == config::fast ? "fast bicubic" : "bicubic", shape.mean[0],
                                   shape.mean[1], shape.mean[2], shape.stddev[0], shape.stddev[1], shape.stddev[2]),
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

data::View view_of(const shards::StoredView& stored) {
  return {.box = {stored.x, stored.y, stored.width, stored.height}, .flip = stored.flip};
}

at::Tensor encode_views(models::Encoder& encoder, const at::Tensor& pixels, const at::Device& device) {
  const c10::InferenceMode inference;
  const at::Tensor pooled =
      encoder.forward(models::normalise(batches::to_device(pixels, device), encoder.shape())).pooled;
  return pooled.to(at::kCPU).to(at::kHalf).contiguous();
}

std::uint64_t feature_bytes(const models::EncoderShape& shape, bool with_tokens) {
  const std::int64_t tokens = with_tokens ? std::int64_t{shape.grid} * shape.grid * shape.token_width : 0;
  return 2 * static_cast<std::uint64_t>(shape.pooled_width + tokens);
}

bool is_cached(const shards::Manifest::Shard& shard) {
  return shard.split() == static_cast<std::uint32_t>(shards::Split::kUnlabelled) ||
         shard.split() == static_cast<std::uint32_t>(shards::Split::kTrain);
}

void require_views(const config::Tower& tower, bool are_stored) {
  const std::uint32_t count = tower.views().count();
  if (count >= data::kFixedViews || (count == 0 && !are_stored)) return;
  throw runtime::UsageError(fmt::format("towers.{}.views.count is {}, expected {} or more{}", tower.name(), count,
                                        data::kFixedViews,
                                        are_stored ? " for a cache" : ", or 0 for new views at each use"));
}

std::string cache_stage(const config::Tower& tower) { return "cache." + tower.name(); }

std::filesystem::path cache_path(const run::Context& context, const config::Tower& tower,
                                 const shards::Manifest::Shard& shard) {
  return context.folder.stage(cache_stage(tower)) / shard.file();
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
  std::string hashes;  // of the caches that this rank wrote or read
  {
    runtime::WorkQueue queue(context.world, static_cast<std::int64_t>(indices.size()));
    while (const auto i = queue.next()) {
      runtime::failure_point("cache.next", folder.native());
      const std::uint32_t index = indices[static_cast<size_t>(*i)];
      const std::string& file = corpus.manifest().shards(static_cast<int>(index)).file();
      const std::filesystem::path path = folder / file;
      const std::vector<std::uint64_t> pictures = image_hashes(*corpus.shard(index));
      if (!shards::is_valid_feature_cache(path, binding, pictures)) {
        cache_shard(context, tower, checked, index, *encoder, binding, path,
                    shards::read_feature_cache(path, binding, pictures), queue);
      }
      if (!queue.stopping())
        hashes += fmt::format("{}  {}\n", runtime::content_hash(runtime::InputFile(path)).hex(), file);
      if (context.world.rank() == 0)
        context.progress(completion.stage, done_after[static_cast<size_t>(*i) + 1], done_after.back());
    }
    queue.finish("features were cached");
  }
  completion.files = hashed_files(context.world.all_gather(hashes));
  completion.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  if (context.world.rank() == 0) {
    context.progress(completion.stage, done_after.back(), done_after.back());
    run::write_completion(folder, completion);
  }
  context.world.barrier();
  return {.completion = completion};
}

}  // namespace cskd::features
