#include "features/stored_features.h"

#include <algorithm>
#include <chrono>
#include <cstring>
#include <map>
#include <sstream>
#include <vector>

#include <ATen/ATen.h>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include "batches/batches.h"
#include "data/render_view.h"
#include "run/provenance.h"
#include "runtime/atomic_file.h"
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
                        const StoredFeatures& features) {
  rows.resize(shard.samples());
  const std::uint64_t stored = rows.front().views.size();
  for (std::uint64_t row = 0; row < rows.size(); ++row) {
    rows[row].image_hash = shard.hash(row).prefix();  // the picture's contents decide its views, not its place
    for (std::uint64_t number = stored; number < features.binding.view_count; ++number) {
      const data::View view = features.view(rows[row].image_hash, number, shard.width(row), shard.height(row));
      rows[row].views.push_back({view.box.x, view.box.y, view.box.width, view.box.height, view.flip});
    }
  }
  return stored;
}

// `rows`: of the shard's file with fewer views; empty where there is none.
void store_shard(const run::Context& context, const StoredFeatures& features, const batches::CheckedCorpus& corpus,
                 std::uint32_t index, const std::filesystem::path& path, std::vector<shards::CacheRow> rows,
                 runtime::WorkQueue& queue) {
  const shards::CacheBinding& binding = features.binding;
  const auto shard = corpus.corpus().shard(index);
  const std::uint64_t stored = add_views(rows, *shard, features);
  const std::uint64_t views = binding.view_count - stored;
  const std::uint64_t rows_at_once = std::max<std::uint64_t>(1, features.batch / views);
  const int side = features.encoder.side;
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
    const at::Tensor half = features.encoder.encode(batch.pixels);
    const at::Tensor finite = half.isfinite().view({static_cast<std::int64_t>(batch.rows), -1}).all(1);
    const auto* is_finite = finite.const_data_ptr<bool>();
    const auto* bits = static_cast<const char*>(half.data_ptr());
    for (std::uint64_t i = 0; i < batch.rows; ++i) {
      shards::CacheRow& row = rows[batch.first + i];
      if (row.has_features && !is_finite[i]) {
        throw runtime::DataError(
            fmt::format("{} gives features of {} that are not finite, or too large for 16 bits: {}",
                        features.encoder.name, shard->name(batch.first + i), features.encoder.advice));
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

// Whether a shard's file is there, and whole; a file of another binding is removed where it may be replaced.
bool is_stored(const FeaturePlace& place, const std::filesystem::path& path, const shards::CacheBinding& binding,
               const std::vector<std::uint64_t>& pictures) {
  try {
    return shards::is_valid_feature_cache(path, binding, pictures);
  } catch (const shards::BindingError&) {
    if (!place.replaces_others) throw;
    std::filesystem::remove(path);
    return false;
  }
}

}  // namespace

bool has_stored_features(const shards::Manifest::Shard& shard) {
  return shard.split() == static_cast<std::uint32_t>(shards::Split::kUnlabelled) ||
         shard.split() == static_cast<std::uint32_t>(shards::Split::kTrain);
}

std::string preprocessing_of(const config::Config& config, const models::EncoderShape& shape) {
  return fmt::format("{}, mean {} {} {}, stddev {} {} {}",
                     config.data().resize() == config::fast ? "fast bicubic" : "bicubic", shape.mean[0], shape.mean[1],
                     shape.mean[2], shape.stddev[0], shape.stddev[1], shape.stddev[2]);
}

data::View view_of(const shards::StoredView& stored) {
  return {.box = {stored.x, stored.y, stored.width, stored.height}, .flip = stored.flip};
}

run::StageOutcome store_features(const run::Context& context, const FeaturePlace& place, const runtime::Inputs& inputs,
                                 const std::function<StoredFeatures()>& make) {
  const std::filesystem::path& folder = place.folder;
  // Files of other shards are kept when shards were added; those of other settings are met one by one.
  if (const auto done = run::agree_on_completion(folder, inputs, context.world, run::OtherInputs::kMakeAgain))
    return {.completion = *done, .done_before = true};

  const auto start = std::chrono::steady_clock::now();
  const batches::CheckedCorpus checked(context);
  const data::Corpus& corpus = checked.corpus();
  const StoredFeatures features = make();
  const shards::CacheBinding& binding = features.binding;
  run::Completion completion{.stage = place.name, .inputs = inputs};
  std::vector<std::uint32_t> indices;
  std::vector<std::int64_t> done_after{0};  // images up to each shard
  for (int i = 0; i < corpus.manifest().shards_size(); ++i) {
    const shards::Manifest::Shard& shard = corpus.manifest().shards(i);
    if (!has_stored_features(shard)) continue;
    indices.push_back(static_cast<std::uint32_t>(i));
    done_after.push_back(done_after.back() + static_cast<std::int64_t>(shard.samples()));
  }
  if (indices.empty())
    throw runtime::DataError("the corpus has neither unlabelled nor training pictures: no features can be stored");
  completion.images = static_cast<std::uint64_t>(done_after.back()) * binding.view_count;
  completion.facts = nlohmann::ordered_json{{"views", binding.view_count}, {"width", binding.width}}.dump();
  run::make_stage_folder(folder, context.world);
  if (context.world.rank() == 0) {
    runtime::remove_temporary_files(folder);
    runtime::require_free_space(folder, completion.images * (binding.width * 2 + 32), place.name);
  }
  context.world.barrier();
  const std::string kind = place.name.substr(0, place.name.find('.'));
  std::string hashes;  // of the files that this rank wrote or read
  {
    runtime::WorkQueue queue(context.world, static_cast<std::int64_t>(indices.size()));
    while (const auto i = queue.next()) {
      runtime::failure_point(kind + ".next", folder.native());
      const std::uint32_t index = indices[static_cast<size_t>(*i)];
      const std::string& file = corpus.manifest().shards(static_cast<int>(index)).file();
      const std::filesystem::path path = folder / file;
      const std::vector<std::uint64_t> pictures = image_hashes(*corpus.shard(index));
      if (!is_stored(place, path, binding, pictures))
        store_shard(context, features, checked, index, path, shards::read_feature_cache(path, binding, pictures),
                    queue);
      if (!queue.stopping())
        hashes += fmt::format("{}  {}\n", runtime::content_hash(runtime::InputFile(path)).hex(), file);
      if (context.world.rank() == 0)
        context.progress(completion.stage, done_after[static_cast<size_t>(*i) + 1], done_after.back());
    }
    queue.finish(place.done);
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
